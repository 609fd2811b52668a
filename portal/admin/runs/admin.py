"""Flow runs: the list, the page of one, its log, and the addresses that cancel and refresh it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import slugify
from django.views.decorators.http import require_GET, require_POST, require_safe

from flows.wording import deployment_name
from portal.admin.actions import perform, redirect_back, ticket_of
from portal.admin.base import RestrictedAdmin
from portal.admin.deployments.filters import FlowFilter
from portal.admin.filters import EnvironmentFilter
from portal.admin.runs import bulk_results, comparison, headline, row_parameters, run_download, selected
from portal.admin.runs import log as runs_log
from portal.admin.runs import page as runs_page
from portal.admin.runs.filters import (
    CreatedFilter,
    DeploymentFilter,
    EndedFilter,
    FailureFilter,
    OriginFilter,
    OwnFilter,
    ParameterFilter,
    ParentFilter,
    PickedFilter,
    PoolFilter,
    QueueFilter,
    RequesterFilter,
    StalledFilter,
    StartsFilter,
    StateFilter,
    TagFilter,
)
from portal.auth.request_user import actor_of, can_view_logs, permissions_of
from portal.lists.change_list import KeysetList
from portal.lists.reader_cells import MARK, ReaderCell
from portal.lists.rendered_rows import narrow_line
from portal.ui import freshness, times
from runs import list_filters, queue, requests
from runs.audit.lines import Columns
from runs.models import Run, Verb

# What a row of the list shows, and the large columns of it that no column shows.
SHOWN = (
    *("environment", "deployment", "access_deployment__environment", "parent"),
    *("run_request__change", "run_request__spec"),
)
UNSHOWN = (
    *(
        f"{deployment}__{column}"
        for deployment in ("deployment", "access_deployment")
        for column in ("definition", "job_variables", "schedules", "description")
    ),
    *("access_deployment__parameter_schema", "access_deployment__parameter_defaults"),
    *("run_request__spec__definition", "run_request__spec__parameters", "run_request__spec__sealed_parameters"),
    *("parent__parameters", "parent__search_text", "search_text"),
)
# What a page shows without further queries.
RELATED = [
    "environment__server__health",
    "deployment__environment",
    "access_deployment__environment",
    "parent__access_deployment__environment",
    "run_request__change",
    "run_request__spec",
]


@admin.register(Run)
class RunAdmin(RestrictedAdmin):
    deployment_lookup = "access_deployment__"
    list_display = [
        *("title", "state", "deployed", "parameters_given", "where", "requested_by", "started", "took", "created")
    ]
    list_filter = [
        EnvironmentFilter,
        StateFilter,
        StalledFilter,
        DeploymentFilter,
        CreatedFilter,
        RequesterFilter,
        OriginFilter,
        TagFilter,
        ParameterFilter,
        EndedFilter,
        StartsFilter,
        *(ParentFilter, OwnFilter, PickedFilter, FlowFilter, PoolFilter, QueueFilter, FailureFilter),
    ]
    search_fields = ["name"]
    search_help_text = "Name of a run or deployment, a state, or an ID"
    sortable_by = ["created", "took"]
    standard_views: ClassVar[dict[str, str]] = {
        "Requested by me": "requester={me}",
        "Active": "state=active",
        "Failed today": "state=FAILED&state=CRASHED&sort_at_from=today",
        "Stalled": "stalled=any",
    }
    hidden_columns = ("started",)
    live_list = "runs"
    csv_columns: ClassVar[Columns] = run_download.COLUMNS
    actions = [
        *("cancel_selected", "put_back_selected", "mark_failed_selected"),
        *("retry_selected", "rerun_selected", "compare_selected"),
    ]

    # The list

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[KeysetList]:
        return KeysetList

    @admin.display(description="run")
    def title(self, run: Run) -> SafeString:
        return format_html(
            "{}{}", run, narrow_line(run.environment, deployment_name(run.what), run.created_upstream_at)
        )

    @admin.display(description="state")
    def state(self, run: Run) -> str:
        return render_to_string("portal/run/_state.html", {"run": run})

    @admin.display(description="deployment")
    def deployed(self, run: Run) -> str:
        if not run.deployment_name:
            return run.flow_name or "-"
        return render_to_string("portal/_name.html", {"full_name": run.deployment_name})

    @admin.display(description="parameters")
    def parameters_given(self, run: Run) -> SafeString:
        # In rows that are sent to all readers, the feed fills it in for each of them.
        cell: SafeString = getattr(run, "parameter_cell", MARK)
        return cell

    def prepare_rows(self, request: HttpRequest, rows: Sequence[Run]) -> None:
        permissions = permissions_of(request)
        defaults: row_parameters.Defaults = {}
        for run in rows:
            cell = row_parameters.cell_of(run, defaults)
            run.parameter_cell = cell.content(permissions)  # type: ignore[attr-defined]  # for the column

    def reader_cell(self, run: Run) -> ReaderCell:
        return row_parameters.cell_of(run, {})

    @admin.display(description="environment")
    def where(self, run: Run) -> str:
        return render_to_string("portal/_environment.html", {"environment": run.environment})

    @admin.display(description="started by")
    def requested_by(self, run: Run) -> SafeString:
        # Who sees a run by the deployment of its parent sees that one too; others, not everyone.
        parent = run.parent
        if parent and parent.access_deployment_id == run.access_deployment_id:
            link = reverse("admin:runs_run_change", args=[parent.pk])
            return format_html('part of <a class="portal-link" href="{}">{}</a>', link, parent)
        origin = runs_page.origin(run, getattr(run, "run_request", None))
        return format_html('<span class="{}">{}</span>', "" if run.created_by_portal else "portal-faint", origin)

    @admin.display(description="started")
    def started(self, run: Run) -> SafeString:
        if run.started_at is None and run.expected_start_at and not run.is_over:
            return format_html("scheduled {}", times.relative_time(run.expected_start_at))
        return times.relative_time(run.started_at)

    @admin.display(description="duration", ordering="run_seconds")
    def took(self, run: Run) -> SafeString | str:
        return headline.took(run) or "-"

    @admin.display(description=times.in_zone("created"), ordering="sort_at")
    def created(self, run: Run) -> SafeString:
        return times.clock_and_age(run.sort_at)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Run], search_term: str
    ) -> tuple[QuerySet[Run], bool]:
        return queryset.filter(self.search_condition(search_term)), False

    def search_condition(self, text: str) -> Q:
        return list_filters.search_runs(text)

    def select_row(self, rows: QuerySet[Run]) -> QuerySet[Run]:
        return rows.select_related(None).select_related(*SHOWN).defer(*UNSHOWN)

    def live_rows(self, pks: Collection[int]) -> Sequence[Run]:
        return list(self.select_row(Run.objects.filter(pk__in=pks)))

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        context = {"title": "Runs", "freshness": freshness.freshness_of_all(request, "runs")}
        response: HttpResponse = super().changelist_view(request, context | (extra_context or {}))
        return response

    @admin.action(description="Cancel selected runs", permissions=["cancel"])
    def cancel_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return self.act_on_selected(request, queryset, selected.CANCEL)

    @admin.action(description="Put selected runs back", permissions=["put_back"])
    def put_back_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return self.act_on_selected(request, queryset, selected.PUT_BACK)

    @admin.action(description="Mark selected runs as failed", permissions=["mark_failed"])
    def mark_failed_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return self.act_on_selected(request, queryset, selected.FAIL)

    @admin.action(description="Retry selected runs", permissions=["retry"])
    def retry_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return self.act_on_selected(request, queryset, selected.RETRY)

    @admin.action(description="Re-run selected runs", permissions=["retry"])
    def rerun_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        return self.act_on_selected(request, queryset, selected.RERUN)

    @admin.action(description="Compare two selected runs", permissions=["view"])
    def compare_selected(self, request: HttpRequest, queryset: QuerySet[Run]) -> HttpResponse | None:
        """Go to the comparison, the older run on the left."""
        keys = list(queryset.order_by("sort_at", "pk").values_list("pk", flat=True)[:3])
        if len(keys) != 2:
            messages.warning(request, "Select exactly two runs to compare.", extra_tags="compare.two")
            return None
        return HttpResponseRedirect(f"{reverse('admin:runs_run_compare')}?a={keys[0]}&b={keys[1]}")

    def act_on_selected(
        self, request: HttpRequest, queryset: QuerySet[Run], bulk: selected.BulkAction
    ) -> HttpResponse | None:
        return selected.view(request, queryset, bulk, {**self.admin_site.each_context(request), "opts": self.opts})

    def has_put_back_permission(self, request: HttpRequest) -> bool:
        return permissions_of(request).can_any(Verb.PUT_BACK)

    def has_mark_failed_permission(self, request: HttpRequest) -> bool:
        return permissions_of(request).can_any(Verb.FORCE_CANCEL)

    def has_retry_permission(self, request: HttpRequest) -> bool:
        permissions = permissions_of(request)
        return permissions.can_any(Verb.RERUN) or permissions.can_any(Verb.TRIGGER)

    # The page

    def get_urls(self) -> list[URLPattern | URLResolver]:
        views: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
            "cancel": ("cancel/", require_POST(self.cancel)),
            "force_cancel": ("force-cancel/", require_POST(self.force_cancel)),
            "put_back": ("put-back/", require_POST(self.put_back)),
            "mark_failed": ("mark-failed/", require_POST(self.mark_failed)),
            "retry": ("retry/", require_POST(self.retry)),
            "refresh": ("refresh/", require_POST(self.refresh)),
            "log": ("log/", require_GET(self.log)),
            "log_text": ("log.txt", require_GET(self.log_text)),
        }
        routes = [
            path(f"<int:pk>/{route}", self.admin_site.admin_view(view), name=f"runs_run_{name}")
            for name, (route, view) in views.items()
        ]
        routes += [
            path("compare/", self.admin_site.admin_view(require_safe(self.compare)), name="runs_run_compare"),
            path(
                "results/<uuid:key>/", self.admin_site.admin_view(require_safe(self.results)), name="runs_run_results"
            ),
        ]
        # First: Django's own routes end with a catch-all, `<path:object_id>/`.
        return [*routes, *super().get_urls()]

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        # Read-only: every change has an address and a service of its own.
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        run: Run = self.visible_or_404(request, object_id)
        is_live = "X-Portal-Live" in request.headers
        # States, tasks and logs of old runs are fetched only when someone opens the page. A live update does not ask
        # again: the first request has queued it, and pages poll every few seconds.
        if run.detailed_at is None and not is_live:
            queue.enqueue("runs.tasks.refresh", run.pk)
        page_context = runs_page.context(
            run,
            permissions_of(request),
            request.GET,
            is_live=is_live,
        )
        frame = {
            **self.admin_site.each_context(request),
            "title": f"{run} in {run.environment}",
            "opts": self.opts,
            "original": run,
        }
        return TemplateResponse(request, "portal/run/page.html", frame | page_context | (extra_context or {}))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Run]:
        return super().get_queryset(request).select_related(*RELATED)

    def compare(self, request: HttpRequest) -> HttpResponse:
        """Show two runs beside each other."""
        left, right = comparison.chosen(request, self.visible_or_404)
        if left is None:
            messages.info(request, f"There is no successful run before {right}.", extra_tags="compare.no_success")
            return HttpResponseRedirect(self.address(right))
        found = comparison.context(left, right, permissions_of(request))
        frame = {**self.admin_site.each_context(request), "title": f"Compare {left} and {right}", "opts": self.opts}
        return TemplateResponse(request, "portal/run/comparison.html", frame | found)

    def results(self, request: HttpRequest, key: UUID) -> HttpResponse:
        """Show what became of each run of a list action."""
        found = bulk_results.context(request, key, self.get_queryset(request))
        frame = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, "portal/run/bulk_results.html", frame | found)

    def cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.act_on(request, pk, requests.cancel, "Cancellation requested.")

    def force_cancel(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.act_on(request, pk, requests.force_cancel, "Forced cancellation requested.")

    def put_back(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.act_on(request, pk, requests.put_back, "The run will be put back, if it has not moved.")

    def mark_failed(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.act_on(request, pk, requests.mark_failed, "The run will be marked as failed, if it has not moved.")

    def retry(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.act_on(request, pk, requests.retry, "The run will be retried, if it has not moved.")

    def act_on(self, request: HttpRequest, pk: int, service: Callable[..., object], done: str) -> HttpResponse:
        """Call a service with the run, the reason and the ticket, and return to the run's page."""
        run: Run = self.visible_or_404(request, pk)
        perform(
            request,
            lambda reason: service(run, by=actor_of(request), reason=reason, ticket=ticket_of(request)),
            done,
        )
        return redirect_back(request, self.address(run))

    def refresh(self, request: HttpRequest, pk: int) -> HttpResponse:
        run: Run = self.visible_or_404(request, pk)
        queue.enqueue("runs.tasks.refresh", run.pk)
        messages.info(request, "Refreshing from Prefect. This page updates automatically.")
        return redirect_back(request, self.address(run))

    def log(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Return a piece of the log as an HTML fragment."""
        run = self.readable_or_403(request, pk)
        lines = runs_log.piece(run, runs_log.Filter.of(request.GET), request.GET)
        return render(request, "portal/run/_lines.html", {"lines": lines})

    def log_text(self, request: HttpRequest, pk: int) -> HttpResponse:
        run = self.readable_or_403(request, pk)
        name = f"{slugify(run.name)[:60] or 'run'}-{timezone.localtime():%Y%m%d-%H%M%S}.log.txt"
        return HttpResponse(
            runs_log.as_text(run, runs_log.Filter.of(request.GET)),
            content_type="text/plain; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )

    def readable_or_403(self, request: HttpRequest, pk: int) -> Run:
        """Return the run if the user can also view its log; else 403, or 404 for a run they cannot see."""
        run: Run = self.visible_or_404(request, pk)
        if not can_view_logs(request, run):
            raise PermissionDenied(f"You can see {run}, but not its log. Required permission: “{Verb.SEE_LOGS.label}”.")
        return run

    def address(self, run: Run) -> str:
        return reverse("admin:runs_run_change", args=[run.pk])
