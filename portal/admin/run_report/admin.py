"""The run report: who ran what, why, and who approved it; the runs that started outside the portal are in it too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from flows.wording import deployment_name
from portal.admin.base import RestrictedAdmin
from portal.admin.filters import EnvironmentFilter
from portal.admin.run_report.filters import ApprovalFilter, ApproverFilter
from portal.admin.run_report.rows import COLUMNS, RELATED, add_facts, facts
from portal.admin.runs import headline
from portal.admin.runs.filters import (
    CreatedFilter,
    DeploymentFilter,
    EndedFilter,
    OriginFilter,
    RequesterFilter,
    StateFilter,
)
from portal.auth.request_user import permissions_of
from portal.lists.change_list import KeysetList
from portal.lists.rendered_rows import narrow_line
from portal.ui import freshness, times
from runs import list_filters
from runs.audit.lines import Columns
from runs.models import ReportedRun

LONGEST_VALUES = 160


class ReportList(KeysetList):
    def url_for_result(self, result: ReportedRun) -> str:
        return reverse("admin:runs_run_change", args=[result.pk])


@admin.register(ReportedRun)
class ReportedRunAdmin(RestrictedAdmin):
    deployment_lookup = "access_deployment__"
    list_display = [
        *("title", "where", "requested_by", "parameters_given", "reason_given"),
        *("approved_by", "started", "took", "outcome", "created"),
    ]
    list_filter = [
        *(EnvironmentFilter, CreatedFilter, ApprovalFilter, DeploymentFilter, StateFilter),
        *(RequesterFilter, ApproverFilter, OriginFilter, EndedFilter),
    ]
    search_fields = ["name"]
    search_help_text = "Name of a run or deployment, a state, or an ID"
    sortable_by = ["created"]
    hidden_columns = ("created",)
    standard_views: ClassVar[dict[str, str]] = {
        "Today": "sort_at_from=today",
        "Emergency overrides": "approval=override",
        "No approval": "approval=none",
        "Prefect (external)": "origin=outside",
    }
    list_before_template = "portal/run_report/_about.html"
    csv_columns: ClassVar[Columns] = COLUMNS
    actions = None

    def has_module_permission(self, request: HttpRequest) -> bool:
        # In the menu of those who read the audit trail. The rows are those that a reader sees in the list of runs.
        return request.user.has_perm("runs.view_auditentry") and self.has_view_permission(request)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReportedRun]:
        # Parts of a run belong to it, and a run that a schedule has only planned did not run.
        planned = Q(is_auto_scheduled=True, state_type="SCHEDULED", started_at=None)
        return super().get_queryset(request).filter(~planned, parent=None).select_related(*RELATED)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ReportList]:
        return ReportList

    def prepare_rows(self, request: HttpRequest, rows: Sequence[ReportedRun]) -> None:
        add_facts(rows, permissions_of(request))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ReportedRun], search_term: str
    ) -> tuple[QuerySet[ReportedRun], bool]:
        return queryset.filter(list_filters.search_runs(search_term)), False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"freshness": freshness.freshness_of_all(request, "runs")}
        response: HttpResponse = super().changelist_view(request, context | (extra_context or {}))
        return response

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to the page of the run."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        run: ReportedRun = self.visible_or_404(request, object_id)
        return HttpResponseRedirect(reverse("admin:runs_run_change", args=[run.pk]))

    @admin.display(description="run")
    def title(self, run: ReportedRun) -> SafeString:
        return format_html(
            "{}{}", run, narrow_line(run.environment, deployment_name(run.what), run.created_upstream_at)
        )

    @admin.display(description="deployment")
    def where(self, run: ReportedRun) -> str:
        context = {"full_name": run.deployment_name, "otherwise": run.flow_name, "environment": run.environment}
        return render_to_string("portal/_deployment_in.html", context)

    @admin.display(description="requested by")
    def requested_by(self, run: ReportedRun) -> SafeString:
        found = facts(run)
        return format_html('<span class="{}">{}</span>', "" if found.change else "portal-faint", found.requested_by)

    @admin.display(description="parameters")
    def parameters_given(self, run: ReportedRun) -> str:
        context = {"facts": facts(run), "longest": LONGEST_VALUES}
        return render_to_string("portal/run_report/_parameters.html", context)

    @admin.display(description="reason")
    def reason_given(self, run: ReportedRun) -> str:
        return render_to_string("portal/run_report/_reason.html", {"facts": facts(run)})

    @admin.display(description="approved by")
    def approved_by(self, run: ReportedRun) -> str:
        return render_to_string("portal/run_report/_approved.html", {"facts": facts(run)})

    @admin.display(description=times.in_zone("started"))
    def started(self, run: ReportedRun) -> SafeString:
        return times.clock_and_age(run.started_at)

    @admin.display(description="duration")
    def took(self, run: ReportedRun) -> SafeString | str:
        return headline.took(run) or "-"

    @admin.display(description="outcome")
    def outcome(self, run: ReportedRun) -> str:
        return render_to_string("portal/run/_state.html", {"run": run})

    @admin.display(description=times.in_zone("created"), ordering="sort_at")
    def created(self, run: ReportedRun) -> SafeString:
        return times.clock_and_age(run.sort_at)
