"""Concurrency limits: the list, the page of one, and the address that changes it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_http_methods, require_POST

from flows.models import Environment, GlobalLimit
from portal.admin import limit_form
from portal.admin.actions import perform, redirect_back, ticket_of
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.admin.global_limits.filters import ActiveFilter, KindFilter
from portal.admin.global_limits.forms import LimitForm
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import times
from portal.ui.run_links import list_url
from runs.audit.lines import Columns
from runs.errors import Refused
from runs.global_limits import GLOBAL_LIMITS
from runs.governance import limit_lifecycle, limits
from runs.governance.loosening import is_guarded
from runs.models import Action, Verb
from runs.models.action import LIMITS, State

DEPLOYMENTS = 20
# How many limits that are to be created the list names, and how long those that failed.
REQUESTED, RECENT = 5, timedelta(hours=1)


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
        context = {
            "unread": unread(request),
            "may_create": permissions_of(request).can_any(Verb.MANAGE),
            "requested": requested(request),
            **(extra_context or {}),
        }
        return super().changelist_view(request, context)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        new = require_http_methods(["GET", "HEAD", "POST"])(self.new)
        change, delete = require_POST(self.limits), require_POST(self.delete)
        own = [
            path("new/", self.admin_site.admin_view(new), name="flows_globallimit_new"),
            path("<int:pk>/limits/", self.admin_site.admin_view(change), name="flows_globallimit_limits"),
            path("<int:pk>/remove/", self.admin_site.admin_view(delete), name="flows_globallimit_remove"),
        ]
        return [*own, *super().get_urls()]

    # A new one

    def new(self, request: HttpRequest) -> HttpResponse:
        """Show the form; on POST request the limit."""
        data = request.POST if request.method == "POST" else None
        form = LimitForm(permissions_of(request), data, initial=request.GET.dict())
        if data is not None and form.is_valid() and self.create(request, form):
            return HttpResponseRedirect(reverse("admin:flows_globallimit_changelist"))
        context = {
            **self.admin_site.each_context(request),
            "title": "New concurrency limit",
            "opts": self.opts,
            "form": form,
        }
        return render(request, "portal/global_limit/form.html", context)

    def create(self, request: HttpRequest, form: LimitForm) -> bool:
        """Request the limit of a valid form; False if it is refused, which the form then says."""
        values = form.cleaned_data
        try:
            limit_lifecycle.create(
                values["environment"],
                form.limit_name,
                form.columns,
                by=actor_of(request),
                reason=values["reason"].strip(),
                ticket=values["ticket"].strip(),
            )
        except Refused as refusal:
            form.refuse(refusal)
            return False
        messages.success(request, "Concurrency limit requested. It is listed in a few seconds.")
        return True

    # Its page

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

    def delete(self, request: HttpRequest, pk: int) -> HttpResponse:
        limit: GlobalLimit = self.visible_or_404(request, pk)

        def act(reason: str) -> object:
            ticket, confirm = ticket_of(request), request.POST.get("confirm", "")
            return limit_lifecycle.delete(limit, by=actor_of(request), reason=reason, ticket=ticket, confirm=confirm)

        perform(request, act, "Deletion requested. It takes effect in a few seconds.")
        return redirect_back(request, reverse("admin:flows_globallimit_changelist"))


def requested(request: HttpRequest) -> list[Action]:
    """Return the newest limits that are to be created and that Prefect does not have yet; one query."""
    place = permissions_of(request).whole_environments(Verb.SEE)
    limits = GlobalLimit.objects.filter(place, deleted_upstream_at__isnull=False)
    rows = Action.objects.filter(
        kind__in=LIMITS, wanted__is_there=True, global_limit__in=limits, requested_at__gt=timezone.now() - RECENT
    )
    newest = rows.exclude(state=State.DONE).select_related("global_limit__environment").order_by("-pk")
    return list(newest[:REQUESTED])


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
