"""The overview: environments, active runs, pending approvals and failures, restricted to what the reader may see."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, time
from typing import Any

from django.conf import settings
from django.db.models import Exists, OuterRef, Prefetch, QuerySet
from django.http import HttpRequest
from django.utils import formats, timezone
from django.utils.safestring import SafeString

from flows.models import WorkPool
from flows.wording import how_to_deploy, plural
from portal import inbox
from portal.admin.audit import oversight
from portal.admin.runs.stalled_panel import stalled_runs
from portal.auth.request_user import actor_of, permissions_of
from portal.ops import database_checks
from portal.ui import audit_panel, calendar, charts
from portal.ui.environment_status import EnvironmentStatus, status_of
from runs import failure_causes, statistics
from runs.access.decisions import Permissions
from runs.governance import rule_changes
from runs.models import BreakGlass, ChangeRequest, Run, RunCount, RunRequest, RunSpec, Verb
from runs.requests import visibility

# Rows in each panel; the rest is a link to the list.
FEW = 8
CHART_DAYS = 14
ACTIVE_RUNS = ["RUNNING", "PENDING", "CANCELLING", "PAUSED"]
FAILED = ["FAILED", "CRASHED"]
# The stacked series of the chart, from below: label -> colour, Prefect's state types.
STACK = {
    "Completed": ("green", ["COMPLETED"]),
    "Failed or crashed": ("red", FAILED),
    "Cancelled": ("grey", ["CANCELLED"]),
}


@dataclass(frozen=True, slots=True)
class Tile:
    """One environment: its status, work pools and workers, and whether runs are held."""

    status: EnvironmentStatus
    pools: int
    workers: int
    windows: calendar.EnvironmentWindows
    empty: str = ""  # how to deploy, where nothing is deployed

    @property
    def workers_label(self) -> str:
        if not self.workers:
            return "No workers online. Runs wait."
        return f"{plural(self.workers, 'worker')} online in {plural(self.pools, 'work pool')}"


@dataclass(frozen=True, slots=True)
class Listing[Row]:
    """The first rows of a queryset, and the number of all its rows."""

    rows: list[Row]
    total: int

    @property
    def more(self) -> int:
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True)
class Failure:
    run: Run
    reason: str


@dataclass(frozen=True, slots=True)
class Chart:
    svg: SafeString
    headings: list[str]
    rows: list[tuple[str, list[int]]]
    legend: list[charts.Series]


def add_overview(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the overview's data to the context; the theme calls it for the admin's index page (`DASHBOARD_CALLBACK`)."""
    permissions = permissions_of(request)
    found = tiles(permissions)
    visible = permissions.q(Verb.SEE, deployment="access_deployment__")
    runs = Run.objects.filter(visible).select_related("environment")
    context |= {
        "title": "Overview",
        "tiles": found,
        "may_add_environment": request.user.has_perm("flows.add_environment"),
        "at_work": active_runs(runs),
        "waiting": waiting_requests(request, permissions),
        "to_review": to_review(request, permissions),
        "failed": failed(runs, permissions),
        # Alarms for administrators and auditors. A demo has no separate database role, so it is never secured.
        "problems": database_checks.problems() if settings.PRODUCTION and audit_panel.can_read(request) else [],
        "outside_changes": audit_panel.outside_changes(request),
        "rules_waiting": rules_waiting(request),
        "oversight": oversight.rows_for(request),
        "oversight_headings": list(oversight.COLUMNS),
        "stalled": stalled_runs(runs),
        # Without an environment the page shows the first steps instead, so the aggregate would be wasted.
        "chart": chart(RunCount.objects.filter(visible)) if found else None,
        "time_zone": timezone.get_current_timezone_name(),
    }
    return context


def tiles(permissions: Permissions) -> list[Tile]:
    """Return a tile for each visible environment; the number of queries does not depend on how many there are."""
    environments = (
        permissions.environments()
        .select_related("server__health")
        .annotate(
            has_deployments=Exists(
                permissions.deployments().filter(environment=OuterRef("pk"), deleted_upstream_at=None)
            )
        )
        .prefetch_related(Prefetch("server__work_pools", WorkPool.objects.only("server_id", "workers")))
    )
    windows = calendar.statuses(list(environments), timezone.now())
    return [
        Tile(
            status_of(environment),
            windows=windows[environment.pk],
            pools=len(environment.server.work_pools.all()),
            workers=sum(pool.workers_online for pool in environment.server.work_pools.all()),
            empty="" if environment.has_deployments else how_to_deploy(environment),
        )
        for environment in environments
    ]


def first_rows(queryset: QuerySet[Any]) -> Listing[Any]:
    # One row more than displayed tells whether a count is needed at all: mostly it is not.
    rows = list(queryset[: FEW + 1])
    return Listing(rows[:FEW], len(rows) if len(rows) <= FEW else queryset.count())


def active_runs(runs: QuerySet[Run]) -> Listing[Run]:
    return first_rows(runs.filter(state_type__in=ACTIVE_RUNS, deleted_upstream_at=None).order_by("-started_at", "-pk"))


def failed(runs: QuerySet[Run], permissions: Permissions) -> Listing[Failure]:
    """Return the runs that failed since midnight in the portal's time zone, each with its reason."""
    midnight = timezone.make_aware(datetime.combine(timezone.localdate(), time.min))
    today = runs.filter(state_type__in=FAILED, ended_at__gte=midnight)
    # `muted` hides state messages from readers without `see logs`: they quote what the run printed.
    found = first_rows(today.select_related("environment", "access_deployment__environment").order_by("-ended_at"))
    return Listing(
        [Failure(run, failure_causes.explain_failure(visibility.muted(run, permissions))) for run in found.rows],
        found.total,
    )


def waiting_requests(request: HttpRequest, permissions: Permissions) -> Listing[RunRequest] | None:
    """Return the requests that need the reader's approval; None for readers who cannot approve anything."""
    if not permissions.can_any(Verb.APPROVE):
        return None
    found = RunRequest.objects.filter(change__in=inbox.waiting_for(request))
    return first_rows(found.select_related("environment", "change", "spec").order_by("change__expires_at", "pk"))


def rules_waiting(request: HttpRequest) -> Listing[ChangeRequest]:
    """Return the changes of rules that wait for a second administrator, for administrators and auditors."""
    by = actor_of(request)
    if not rule_changes.oversees(by):
        return Listing([], 0)
    visible = rule_changes.visible_to(by)
    waiting = ChangeRequest.objects.filter(visible, state=ChangeRequest.State.WAITING, expires_at__gt=timezone.now())
    return first_rows(waiting.select_related("rule_change").order_by("requested_at", "pk"))


def to_review(request: HttpRequest, permissions: Permissions) -> list[BreakGlass]:
    """Return emergency overrides that the reader may review."""
    if not permissions.can_any(Verb.APPROVE):
        return []
    places = {"deployment": "deployment__", "base": ""}
    me = request.user.pk
    # A review must be independent: neither by who overrode, nor by who requested the run, nor on whose behalf.
    runs = RunRequest.objects.filter(change=OuterRef("change"))
    allowed = permissions.q(Verb.SEE, **places) & permissions.q(Verb.APPROVE, **places)
    others = runs.filter(~Exists(RunRequest.objects.filter(allowed, pk=OuterRef("pk"))))
    found = (
        BreakGlass.objects.filter(Exists(runs), ~Exists(others))
        .filter(reviewed_at=None)
        .exclude(by=me)
        .exclude(change__requested_by=me)
        .exclude(change__on_behalf_of=me)
    )
    # Of several runs the page of the first says what was overridden.
    shown = found.select_related("change").prefetch_related(
        Prefetch("change__specs", RunSpec.objects.only("change", "position", "deployment_name").order_by("position")),
        Prefetch("change__run_requests", RunRequest.objects.only("change").order_by("pk")),
    )
    return list(shown[:FEW])


def chart(counts: QuerySet[RunCount]) -> Chart | None:
    """Return the finished runs per day and state; None when none finished."""
    days = statistics.by_day(counts, days=CHART_DAYS)
    legend = [
        charts.Series(label, tone, tuple(sum(day.counts.get(state, 0) for state in states) for day in days))
        for label, (tone, states) in STACK.items()
    ]
    if not any(series.total for series in legend):
        return None
    labels = [formats.date_format(day.day, "j M") for day in days]
    total = sum(series.total for series in legend)
    return Chart(
        svg=charts.stacked_bars(f"{total} runs ended in the last {CHART_DAYS} days, by day and state", labels, legend),
        headings=[series.label for series in legend],
        rows=[(label, [series.values[index] for series in legend]) for index, label in enumerate(labels)],
        legend=legend,
    )
