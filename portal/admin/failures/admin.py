"""Failure groups: the list, the page of one, and the addresses that own, mute, resolve and comment it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import BooleanField, Case, Q, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_POST

from flows.wording import deployment_name
from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin
from portal.admin.failures import page
from portal.admin.failures.filters import FailedDeploymentFilter, FailureStateFilter, OwnerFilter, SeenFilter
from portal.admin.filters import EnvironmentFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import KeysetList
from portal.ui import times
from runs import failures, moments, names
from runs.audit.lines import Columns
from runs.errors import Refused
from runs.models import FailureGroup, Verb


@admin.register(FailureGroup)
class FailureGroupAdmin(RestrictedAdmin):
    deployment_lookup = "access_deployment__"
    list_display = ["failure", "state_shown", "where", "owner_shown", "failures_shown", "first", "last"]
    list_filter = [EnvironmentFilter, FailureStateFilter, FailedDeploymentFilter, OwnerFilter, SeenFilter]
    search_fields = ["what"]
    search_help_text = "Deployment, exception or message"
    sortable_by = ["failures_shown", "last"]
    standard_views: ClassVar[dict[str, str]] = {
        "Open": "state=open",
        "New and regressed": "state=new&state=regressed",
        "Owned by me": "owner={me}",
    }
    csv_columns: ClassVar[Columns] = {
        "failure": lambda group: group.pk,
        "deployment": lambda group: group.what,
        "environment": lambda group: group.environment.slug,
        "task": lambda group: group.task_name,
        "reason": lambda group: group.title if group.sees_logs else "",
        "state": lambda group: group.state_label,
        "owner": lambda group: group.owner.get_username() if group.owner else "",
        "failures": lambda group: group.number,
        "first seen": lambda group: group.first_seen_at,
        "last seen": lambda group: group.last_seen_at,
    }
    actions = None

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList

    def get_queryset(self, request: HttpRequest) -> QuerySet[FailureGroup]:
        # Decided for all rows at once: the exception and the message quote the log.
        sees_logs = Q(pk__isnull=False) & self.visible(request, Verb.SEE_LOGS)
        found = super().get_queryset(request).select_related("environment", "access_deployment__environment", "owner")
        annotated: QuerySet[FailureGroup] = found.annotate(
            sees_logs=Case(When(sees_logs, then=Value(True)), default=Value(False), output_field=BooleanField())
        )
        return annotated.defer("access_deployment__parameter_schema", "access_deployment__definition")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[FailureGroup], search_term: str
    ) -> tuple[QuerySet[FailureGroup], bool]:
        if not search_term:
            return queryset, False
        in_message = failures.FAILURES.selected("search", search_term, permissions_of(request))
        return queryset.filter(Q(what__icontains=search_term) | in_message), False

    # The list

    @admin.display(description="failure")
    def failure(self, group: Any) -> SafeString:
        reason = group.title if group.sees_logs else ""
        task = f"task {group.task_name}" if group.task_name else ""
        below = " · ".join(part for part in (deployment_name(group.what) if reason else "", task) if part)
        return format_html(
            '<span class="portal-name">{}<small>{}</small></span>', reason or deployment_name(group.what), below
        )

    # Not “state”, which Django would take for the column: a mute that is over is shown as known.
    @admin.display(description="state")
    def state_shown(self, group: FailureGroup) -> str:
        return render_to_string("portal/_state.html", {"row": group})

    @admin.display(description="environment")
    def where(self, group: FailureGroup) -> str:
        return render_to_string("portal/_environment.html", {"environment": group.environment})

    @admin.display(description="owner")
    def owner_shown(self, group: FailureGroup) -> str:
        return group.owner.get_username() if group.owner else "-"

    @admin.display(description="failures", ordering="number")
    def failures_shown(self, group: FailureGroup) -> str:
        return f"{group.number:,}"

    @admin.display(description="first seen")
    def first(self, group: FailureGroup) -> SafeString:
        return times.relative_time(group.first_seen_at)

    @admin.display(description=times.in_zone("last seen"), ordering="last_seen_at")
    def last(self, group: FailureGroup) -> SafeString:
        return times.clock_and_age(group.last_seen_at)

    # The page

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "own": ("<int:pk>/own/", require_POST(self.own)),
            "acknowledge": ("<int:pk>/acknowledge/", require_POST(self.acknowledge)),
            "mute": ("<int:pk>/mute/", require_POST(self.mute)),
            "resolve": ("<int:pk>/resolve/", require_POST(self.resolve)),
            "note": ("<int:pk>/note/", require_POST(self.note)),
        }
        own = [
            path(route, self.admin_site.admin_view(view), name=f"runs_failuregroup_{name}")
            for name, (route, view) in views.items()
        ]
        return [*own, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        group: FailureGroup = self.visible_or_404(request, object_id)
        context = {
            **self.admin_site.each_context(request),
            "title": f"Failure {group.pk}",
            "opts": self.opts,
            "original": group,
            **page.context(group, actor_of(request), permissions_of(request)),
        }
        return TemplateResponse(request, "portal/failure/page.html", context | (extra_context or {}))

    def own(self, request: HttpRequest, pk: int) -> HttpResponse:
        name = request.POST.get("owner", "").strip()

        def act(group: FailureGroup, reason: str) -> object:
            return failures.assign(group, names.user(name) if name else None, by=actor_of(request))

        return self.act_on(request, pk, act, "Owner changed.")

    def acknowledge(self, request: HttpRequest, pk: int) -> HttpResponse:
        def act(group: FailureGroup, reason: str) -> object:
            return failures.acknowledge(group, by=actor_of(request), reason=reason)

        return self.act_on(request, pk, act, "Marked as known.")

    def mute(self, request: HttpRequest, pk: int) -> HttpResponse:
        def act(group: FailureGroup, reason: str) -> object:
            return failures.mute(group, until_of(request), by=actor_of(request), reason=reason)

        return self.act_on(request, pk, act, "Muted. Further failures are counted, without notifications.")

    def resolve(self, request: HttpRequest, pk: int) -> HttpResponse:
        def act(group: FailureGroup, reason: str) -> object:
            return failures.resolve(group, by=actor_of(request), reason=reason)

        return self.act_on(request, pk, act, "Resolved. If it fails again, subscribers are notified.")

    def note(self, request: HttpRequest, pk: int) -> HttpResponse:
        def act(group: FailureGroup, reason: str) -> object:
            return failures.comment(group, reason, by=actor_of(request))

        return self.act_on(request, pk, act, "Note added.")

    def act_on(
        self, request: HttpRequest, pk: int, act: Callable[[FailureGroup, str], object], done: str
    ) -> HttpResponse:
        group: FailureGroup = self.visible_or_404(request, pk)
        perform(request, lambda reason: act(group, reason), done)
        return redirect_back(request, reverse("admin:runs_failuregroup_change", args=[group.pk]))


def until_of(request: HttpRequest) -> datetime:
    """Return the typed end of a mute; raises `Refused`."""
    found = moments.read(request.POST.get("until", ""))
    if found is None:
        raise Refused("failure.until_required", "Choose until when the failure is muted.")
    return found
