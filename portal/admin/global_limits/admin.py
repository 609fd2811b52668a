"""Concurrency limits: the list, the page of one, and the address that changes it."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from flows.models import Environment, GlobalLimit
from portal.admin import limit_form
from portal.admin.actions import redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.admin.global_limits.filters import ActiveFilter, KindFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import times
from portal.ui.run_links import list_url
from runs.audit.lines import Columns
from runs.global_limits import GLOBAL_LIMITS
from runs.governance import limits
from runs.governance.loosening import is_guarded

DEPLOYMENTS = 20


@admin.register(GlobalLimit)
class GlobalLimitAdmin(RestrictedAdmin):
    list_display = ["named", "kind", "where", "state", "slots", "synced"]
    list_filter = [EnvironmentFilter, KindFilter, ActiveFilter]
    list_before_template = "portal/global_limit/_tools.html"
    search_fields = ["name"]
    search_help_text = "Name or tag"
    csv_columns: ClassVar[Columns] = {
        "concurrency limit": lambda limit: limit.name,
        "environment": lambda limit: limit.environment.slug,
        "limit": lambda limit: limit.concurrency_limit,
        "slots in use": lambda limit: limit.active_slots,
        "active": lambda limit: limit.is_active,
        "read": lambda limit: limit.synced_at,
    }
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[GlobalLimit]:
        return GLOBAL_LIMITS.rows(actor_of(request), permissions=permissions_of(request))

    @admin.display(description="concurrency limit", ordering="name")
    def named(self, limit: GlobalLimit) -> str:
        return limit.tag or limit.name

    @admin.display(description="kind")
    def kind(self, limit: GlobalLimit) -> str:
        return "task runs with the tag" if limit.tag else "global"

    @admin.display(description="environment", ordering="environment")
    def where(self, limit: GlobalLimit) -> SafeString:
        return render_to_string("portal/_environment.html", {"environment": limit.environment})

    @admin.display(description="state")
    def state(self, limit: GlobalLimit) -> SafeString:
        return render_to_string("portal/_state.html", {"row": badge_of(limit)})

    @admin.display(description="slots in use", ordering="active_slots")
    def slots(self, limit: GlobalLimit) -> str:
        return f"{limit.active_slots} of {limit.concurrency_limit}"

    @admin.display(description="read", ordering="synced_at")
    def synced(self, limit: GlobalLimit) -> SafeString:
        return times.relative_time(limit.synced_at)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"unread": unread(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        change = self.admin_site.admin_view(require_POST(self.limits))
        return [path("<int:pk>/limits/", change, name="flows_globallimit_limits"), *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Read-only: every change has an address and a service of its own.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        limit: GlobalLimit = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Concurrency limit {limit} in {limit.environment}",
            "opts": self.opts,
            "original": limit,
            **page_context(request, limit),
        }
        return TemplateResponse(request, "portal/global_limit/page.html", context | (extra_context or {}))

    def limits(self, request: HttpRequest, pk: int) -> HttpResponse:
        limit_form.change_limits(request, self.visible_or_404(request, pk))
        return redirect_back(request, reverse("admin:flows_globallimit_change", args=[pk]))


def page_context(request: HttpRequest, limit: GlobalLimit) -> dict[str, Any]:
    """Build the template context of one limit."""
    permissions = permissions_of(request)
    sharing = permissions.deployments().filter(
        environment=limit.environment_id, shared_limit=limit.name, deleted_upstream_at=None
    )
    return {
        "limit": limit,
        "badge": badge_of(limit),
        "unread": unread(request, limit.environment),
        "deployments": list(sharing.order_by("full_name").only("full_name", "environment")[:DEPLOYMENTS]),
        "deployments_url": list_url("flows_deployment", environment=limit.environment.slug),
        "requested": limit_form.open_requests(limit),
        **limit_form.context(permissions, limit),
        "is_guarded": any(map(is_guarded, limits.environments_of(limit))),
    }


def unread(request: HttpRequest, environment: Environment | None = None) -> list[tuple[str, str]]:
    """Return the visible environments whose limits could not be read last, each with why."""
    environments = permissions_of(request).environments().exclude(server__health__limits_failure="")
    if environment:
        environments = environments.filter(pk=environment.pk)
    return list(environments.filter(is_active=True).values_list("slug", "server__health__limits_failure"))


def badge_of(limit: GlobalLimit) -> dict[str, str]:
    if not limit.is_active:
        return {"state_label": "Inactive", "state_colour": "grey"}
    if limit.active_slots >= limit.concurrency_limit:
        return {"state_label": "Full", "state_colour": "amber"}
    return {"state_label": "Active", "state_colour": "green"}
