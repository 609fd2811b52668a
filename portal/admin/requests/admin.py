"""Run requests: the list, the page of one, and the addresses that approve, reject, withdraw and override."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet, prefetch_related_objects
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.views.decorators.http import require_GET, require_POST, require_safe

from flows.wording import deployment_name, is_name_of
from portal.admin.actions import perform, redirect_back
from portal.admin.base import RestrictedAdmin, attempt
from portal.admin.filters import EnvironmentFilter
from portal.admin.requests import bulk, request_download
from portal.admin.requests import page as requests_page
from portal.admin.run_form import after_run
from portal.admin.runs import row_parameters
from portal.admin.runs.filters import (
    ChangeFilter,
    ConcernFilter,
    CreatedFilter,
    RequestDeploymentFilter,
    RequestStateFilter,
    RequestTagFilter,
)
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import KeysetList
from portal.lists.reader_cells import MARK, ReaderCell
from portal.lists.rendered_rows import narrow_line
from portal.ui import freshness, times
from portal.ui.approval_labels import NOT_REQUIRED, approved_by
from portal.ui.text import number
from runs import changes, list_filters
from runs.audit.lines import Columns
from runs.errors import Refused
from runs.models import BreakGlass, RunRequest, Verb
from runs.shared_reads import shared_reads

# What a row of the list shows, and the large columns of it that no column shows.
SHOWN = ("change__break_glass", "spec", "environment", "deployment__environment", "run")
UNSHOWN = (
    *("deployment__definition", "deployment__job_variables", "deployment__schedules", "deployment__description"),
    *("spec__definition", "spec__sealed_parameters", "run__parameters", "run__search_text"),
)
# What a page shows without further queries.
RELATED = [
    *(
        "change",
        "spec",
        "environment__server__health",
        "deployment__environment",
        "run__environment__server__health",
        "run__deployment__environment",
    ),
    "run__access_deployment__environment",
    *(
        "change__break_glass",
        "change__environment",
        "spec__rerun_of__deployment__environment",
        "spec__rerun_of__change",
    ),
]


@admin.register(RunRequest)
class RunRequestAdmin(RestrictedAdmin):
    deployment_lookup = "deployment__"
    list_display = [
        "title",
        "state_badge",
        "deployment_name",
        "requested_by_name",
        "approved_by",
        "requested",
        "reason_given",
    ]
    list_filter = [
        ConcernFilter,
        EnvironmentFilter,
        RequestStateFilter,
        RequestDeploymentFilter,
        CreatedFilter,
        RequestTagFilter,
        ChangeFilter,
    ]
    search_fields = ["id"]
    search_help_text = "Number, deployment, state, person, reason or ticket"
    sortable_by = ["requested"]
    standard_views: ClassVar[dict[str, str]] = {
        "Needs my approval": "whose=to-answer",
        "Requested by me": "whose=mine",
        "Open": "state=held&state=approved&state=launching&state=launched",
        "Failed today": "state=failed&state=lost&state=refused&sort_at_from=today",
    }
    csv_columns: ClassVar[Columns] = request_download.COLUMNS
    actions = ["approve_selected", "reject_selected", "withdraw_selected"]
    live_list = "requests"

    # The list

    @admin.display(description="request")
    def title(self, run_request: RunRequest) -> SafeString:
        name = deployment_name(run_request.spec.deployment_name)
        return format_html(
            "Request {}{}", run_request.pk, narrow_line(run_request.environment, name, run_request.requested_at)
        )

    @admin.display(description="state and run")
    def state_badge(self, run_request: RunRequest) -> str:
        return render_to_string("portal/request/_state_and_run.html", {"run_request": run_request})

    @admin.display(description="deployment")
    def deployment_name(self, run_request: RunRequest) -> str:
        context = {"full_name": run_request.spec.deployment_name, "environment": run_request.environment}
        return render_to_string("portal/_deployment_in.html", context)

    @admin.display(description="requested by")
    def requested_by_name(self, run_request: RunRequest) -> str:
        return run_request.change.requester

    @admin.display(description="approved by")
    def approved_by(self, run_request: RunRequest) -> SafeString:
        names = approved_by(run_request.change)
        return format_html('<span class="{}">{}</span>', "portal-faint" if names == NOT_REQUIRED else "", names or "-")

    @admin.display(description=times.in_zone("requested"), ordering="sort_at")
    def requested(self, run_request: RunRequest) -> SafeString:
        return times.clock_and_age(run_request.requested_at)

    @admin.display(description="reason and parameters")
    def reason_given(self, run_request: RunRequest) -> SafeString:
        short = Truncator(run_request.change.reason).chars(60)
        parameters = getattr(run_request, "parameter_cell", MARK)
        why = run_request.change.reason
        return format_html(
            '<span title="{}">{}</span><div class="portal-given">{}</div>', why, short or "-", parameters
        )

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[RunRequest], search_term: str
    ) -> tuple[QuerySet[RunRequest], bool]:
        return queryset.filter(self.search_condition(search_term)), False

    def search_condition(self, text: str) -> Q:
        return list_filters.search_requests(text)

    def select_row(self, rows: QuerySet[RunRequest]) -> QuerySet[RunRequest]:
        return rows.select_related(None).select_related(*SHOWN).defer(*UNSHOWN)

    def live_rows(self, pks: Collection[int]) -> Sequence[RunRequest]:
        return list(self.select_row(RunRequest.objects.filter(pk__in=pks)).prefetch_related("change__approvals"))

    def prepare_rows(self, request: HttpRequest, rows: Sequence[RunRequest]) -> None:
        # Not part of every queryset: what an act adds would be missing in what was read before it.
        prefetch_related_objects(rows, "change__approvals")
        permissions = permissions_of(request)
        defaults: row_parameters.Defaults = {}
        for row in rows:
            cell = row_parameters.cell_of(row, defaults)
            row.parameter_cell = cell.content(permissions)  # type: ignore[attr-defined]  # for the column

    def reader_cell(self, run_request: RunRequest) -> ReaderCell:
        return row_parameters.cell_of(run_request, {})

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"title": "Run requests", "freshness": freshness.freshness_of_all(request, "runs")}
        response: HttpResponse = super().changelist_view(request, context | (extra_context or {}))
        return response

    def get_queryset(self, request: HttpRequest) -> QuerySet[RunRequest]:
        return super().get_queryset(request).select_related(*RELATED)

    def has_withdraw_permission(self, request: HttpRequest) -> bool:
        # Offers the action to all who may have a request to withdraw; the service decides about each row.
        return permissions_of(request).can_any(Verb.TRIGGER) or permissions_of(request).can_any(Verb.CANCEL)

    @admin.action(description="Approve selected requests", permissions=["approve"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[RunRequest]) -> HttpResponse | None:
        return bulk.view(request, queryset, bulk.APPROVE, partial(self.frame, request))

    @admin.action(description="Reject selected requests", permissions=["approve"])
    def reject_selected(self, request: HttpRequest, queryset: QuerySet[RunRequest]) -> HttpResponse | None:
        return bulk.view(request, queryset, bulk.REJECT, partial(self.frame, request))

    def frame(self, request: HttpRequest) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "opts": self.opts}

    @admin.action(description="Cancel selected requests", permissions=["withdraw"])
    def withdraw_selected(self, request: HttpRequest, queryset: QuerySet[RunRequest]) -> None:
        for run_request in queryset:
            attempt(
                request, run_request, partial(changes.withdraw, run_request.change, by=actor_of(request)), "cancelled."
            )

    # The page

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "approve": ("approve/", require_POST(self.approve)),
            "reject": ("reject/", require_POST(self.reject)),
            "withdraw": ("withdraw/", require_POST(self.withdraw)),
            "comment": ("comment/", require_POST(self.comment)),
            "break_glass": ("break-glass/", require_POST(self.break_glass)),
            "override": ("override/", require_POST(self.override)),
            "review": ("review/", require_POST(self.review)),
            "status": ("status.json", require_GET(self.status)),
        }
        routes = [
            path(f"<int:pk>/{route}", self.admin_site.admin_view(view), name=f"runs_runrequest_{name}")
            for name, (route, view) in views.items()
        ]
        results = self.admin_site.admin_view(require_safe(self.results))
        routes.append(path("results/<uuid:key>/", results, name="runs_runrequest_results"))
        # First: Django's own routes end with a catch-all, `<path:object_id>/`.
        return [*routes, *super().get_urls()]

    def results(self, request: HttpRequest, key: UUID) -> HttpResponse:
        """Show what became of each request that was decided together."""
        found = bulk.results_context(request, key, self.get_queryset(request))
        return TemplateResponse(request, "portal/request/decided.html", self.frame(request) | found)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Read-only: every change has an address and a service of its own.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        run_request: RunRequest = self.visible_or_404(request, object_id)
        with shared_reads():
            page_context = requests_page.context(run_request, permissions_of(request))
        page_context["follows"] = after_run.FOLLOW in request.GET
        frame = {
            **self.frame(request),
            "title": str(run_request),
            "original": run_request,
        }
        return TemplateResponse(request, "portal/request/page.html", frame | page_context | (extra_context or {}))

    def approve(self, request: HttpRequest, pk: int) -> HttpResponse:
        run_request: RunRequest = self.visible_or_404(request, pk)
        # What is approved is what this page displayed; a request that changed meanwhile is refused.
        displayed = request.POST.get("displayed_digest", "")

        def act(reason: str) -> None:
            changes.approve(run_request.change, by=actor_of(request), reason=reason, displayed_digest=displayed)

        perform(request, act, lambda: requests_page.describe_progress(run_request))
        return redirect_back(request, self.address(run_request))

    def reject(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, changes.reject, "Request rejected. It will not run.")

    def withdraw(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.call(request, pk, changes.withdraw, "Request cancelled. It will not run.")

    def override(self, request: HttpRequest, pk: int) -> HttpResponse:
        run_request: RunRequest = self.visible_or_404(request, pk)
        act = partial(changes.override, run_request, by=actor_of(request))
        perform(request, lambda reason: act(reason=reason), "Change window overridden.")
        return redirect_back(request, self.address(run_request))

    def call(self, request: HttpRequest, pk: int, service: Callable[..., object], done: str) -> HttpResponse:
        """Call a service that needs only the change request and a reason."""
        run_request: RunRequest = self.visible_or_404(request, pk)
        perform(request, lambda reason: service(run_request.change, by=actor_of(request), reason=reason), done)
        return redirect_back(request, self.address(run_request))

    def comment(self, request: HttpRequest, pk: int) -> HttpResponse:
        run_request: RunRequest = self.visible_or_404(request, pk)
        text = request.POST.get("text", "")
        perform(request, lambda _: changes.comment(run_request.change, text, by=actor_of(request)), "Comment added.")
        return redirect_back(request, self.address(run_request))

    def break_glass(self, request: HttpRequest, pk: int) -> HttpResponse:
        run_request: RunRequest = self.visible_or_404(request, pk)
        minutes = number(request.POST.get("minutes"), otherwise=0) or 0

        def act(reason: str) -> None:
            # People without permission go on to the service, which refuses and records that in the audit trail.
            is_allowed = permissions_of(request).decide(Verb.BREAK_GLASS, run_request.deployment)
            full_name = run_request.spec.deployment_name
            if is_allowed and not is_name_of(full_name, request.POST.get("confirmation", "")):
                raise Refused(
                    "confirmation.mismatch",
                    f"Nothing was done. Type {deployment_name(full_name)} to confirm the emergency override.",
                )
            changes.break_glass(run_request.change, by=actor_of(request), reason=reason, minutes=minutes)

        perform(request, act, "Approval bypassed. The run is being launched and must be reviewed by someone else.")
        return redirect_back(request, self.address(run_request))

    def review(self, request: HttpRequest, pk: int) -> HttpResponse:
        run_request: RunRequest = self.visible_or_404(request, pk)
        overrides = BreakGlass.objects.select_related("change__environment").filter(change=run_request.change_id)
        verdict = request.POST.get("was_right", "")

        def act(reason: str) -> None:
            emergency = overrides.first()
            if emergency is None:
                raise Refused("override.none", f"Request {run_request.pk} has no emergency override.")
            if verdict not in ("yes", "no"):
                raise Refused("review.verdict_required", "Choose whether the emergency override was justified.")
            changes.review(emergency, by=actor_of(request), was_right=verdict == "yes", text=reason)

        perform(request, act, "Review saved.")
        return redirect_back(request, self.address(run_request))

    def status(self, request: HttpRequest, pk: int) -> JsonResponse:
        return JsonResponse(requests_page.status(self.visible_or_404(request, pk)))

    def address(self, run_request: RunRequest) -> str:
        return reverse("admin:runs_runrequest_change", args=[run_request.pk])
