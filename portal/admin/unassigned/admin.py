"""Deployments that belong to no environment, or not to the one that they were in: a list, and a page to assign one."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from flows.models import Environment, UnassignedDeployment
from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import RestrictedList
from portal.ui import times
from runs.actors import is_administrator
from runs.audit.lines import Columns
from runs.governance import deployment_moves, loosening_gate, rule_changes
from runs.models import ChangeRequest
from runs.unassigned_listings import UNASSIGNED


class UnassignedList(RestrictedList):
    """Adds the environments whose scopes each deployment is in, for all rows at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        add_places(self.result_list)


def add_places(rows: Any) -> None:
    """Set on each row the environments whose scopes it is in; one query."""
    keys = {key for row in rows for key in row.covered_by}
    places = Environment.objects.in_bulk(keys) if keys else {}
    for row in rows:
        row.places = [places[key] for key in row.covered_by if key in places]


@admin.register(UnassignedDeployment)
class UnassignedDeploymentAdmin(RestrictedAdmin):
    list_display = ["named", "where", "covered", "pool", "tagged", "found"]
    list_select_related = ["environment", "confirmed"]
    search_fields = ["full_name"]
    search_help_text = "Full name"
    ordering = ["full_name", "pk"]
    change_list_template = "portal/unassigned/list.html"
    csv_columns: ClassVar[Columns] = {
        "name": lambda row: row.full_name,
        "server": lambda row: row.server.api_url,
        "stays in": lambda row: row.environment.slug if row.environment else "",
        "work pool": lambda row: row.work_pool_name,
        "tags": lambda row: ", ".join(row.tags),
        "found": lambda row: row.found_at,
    }
    actions = None

    def get_queryset(self, request: HttpRequest) -> QuerySet[UnassignedDeployment]:
        return UNASSIGNED.rows(actor_of(request), permissions=permissions_of(request))

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[UnassignedList]:
        return UnassignedList

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let administrators and auditors in."""
        return bool(request.user.is_active) and rule_changes.oversees(actor_of(request))

    @admin.display(description="name", ordering="full_name")
    def named(self, row: UnassignedDeployment) -> SafeString:
        return render_to_string("portal/_name.html", {"full_name": row.full_name})

    @admin.display(description="stays in")
    def where(self, row: UnassignedDeployment) -> str | SafeString:
        if row.environment is None:
            return "no environment"
        return render_to_string("portal/_environment.html", {"environment": row.environment})

    @admin.display(description="in scope of")
    def covered(self, row: Any) -> SafeString:
        return render_to_string("portal/unassigned/_places.html", {"row": row})

    @admin.display(description="work pool", ordering="work_pool_name")
    def pool(self, row: UnassignedDeployment) -> str:
        return row.work_pool_name

    @admin.display(description="tags")
    def tagged(self, row: UnassignedDeployment) -> str:
        return ", ".join(row.tags)

    @admin.display(description=times.in_zone("found"), ordering="found_at")
    def found(self, row: UnassignedDeployment) -> SafeString:
        return times.clock_and_age(row.found_at)

    def get_urls(self) -> list[URLPattern | URLResolver]:
        view = self.admin_site.admin_view(require_POST(self.assign))
        return [path("<int:pk>/assign/", view, name="flows_unassigneddeployment_assign"), *super().get_urls()]

    def assign(self, request: HttpRequest, pk: int) -> HttpResponse:
        row: UnassignedDeployment = self.visible_or_404(request, pk)

        def act(reason: str) -> ChangeRequest | None:
            confirm = request.POST.get("confirm", "")
            return deployment_moves.assign(row, by=actor_of(request), reason=reason, confirm=confirm)

        perform(request, act, f"{row} is assigned with the next sync, in a few seconds.")
        return redirect_back(request, reverse("admin:flows_unassigneddeployment_changelist"))

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Read-only: assigning has an address and a service of its own.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        row: UnassignedDeployment = self.visible_or_404(request, object_id)
        add_places([row])
        target = deployment_moves.target_of(row)
        found = deployment_moves.loosened_by(row, target) if target else []
        context = {
            **self.admin_site.each_context(request),
            "title": str(row),
            "opts": self.opts,
            "original": row,
            "row": row,
            "target": target,
            "may_assign": is_administrator(request.user),
            "loosened": ", ".join(loosening_gate.environments_of(found)),
            "needs_signature": bool(found) and not settings.SINGLE_ADMINISTRATOR,
        }
        return TemplateResponse(request, "portal/unassigned/page.html", context | (extra_context or {}))
