"""What runs now, what is scheduled next, and what the reader requested: first rows and exact numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Case, Exists, F, Min, OuterRef, Q, QuerySet, Value, When
from django.db.models import Count as CountRows
from django.db.models.functions import Coalesce
from django.urls import reverse
from django.utils import timezone

from portal.ui.run_links import CappedCount, first_keys, list_url, runs_url
from runs import levels
from runs.access.decisions import Permissions
from runs.models import FailureGroup, Run, RunRequest, Verb
from runs.models.request import OVER, State
from runs.trend_sums import FAILED, Range

# Rows in each panel; the rest is a link to the list.
FEW = 8
RUNNING = ["RUNNING", "PENDING", "CANCELLING", "PAUSED"]
OPEN_REQUESTS = [state for state in State if state not in OVER]
RECENT = timedelta(hours=24)
# Failures among which causes are looked for: their messages are read and compared one by one.
MOST_FAILURES = 200


@dataclass(frozen=True, slots=True)
class Listing[Row]:
    """The first rows of a list, and the number of all its rows with a link to them."""

    rows: list[Row]
    count: CappedCount


@dataclass(frozen=True, slots=True)
class OwnRequest:
    """A request of the reader: one word for the state of the request and its run."""

    run_request: RunRequest

    @property
    def state_label(self) -> str:
        return self.run_request.run.state_label if self.run_request.run else self.run_request.state_label

    @property
    def state_colour(self) -> str:
        return self.run_request.run.state_colour if self.run_request.run else self.run_request.state_colour

    @property
    def url(self) -> str:
        return reverse("admin:runs_runrequest_change", args=[self.run_request.pk])


@dataclass(frozen=True, slots=True)
class CurrentRuns:
    """The lists of the page, the last failures, the newest first, and stalled runs by environment and kind."""

    running: Listing[Run]
    scheduled: Listing[Run]
    own_requests: Listing[OwnRequest]
    own_runs: Listing[Run]
    failed: list[Run]
    stalled: list[dict[str, Any]]
    breaches: CappedCount

    @property
    def has_own(self) -> bool:
        return bool(self.own_requests.rows or self.own_runs.rows)


def current_runs(runs: QuerySet[Run], span: Range, user: User | AnonymousUser, permissions: Permissions) -> CurrentRuns:
    """Return what the reader sees of the visible `runs`, in three queries: the keys, the runs, the requests."""
    # 1. The lists, as far as they differ.
    now = timezone.now()
    running = runs.filter(state_type__in=RUNNING, deleted_upstream_at=None)
    scheduled = runs.filter(state_type="SCHEDULED", deleted_upstream_at=None, expected_start_at__gte=now)
    requests = own_requests(permissions, user)
    is_open = Case(When(state__in=OPEN_REQUESTS, then=Value(0)), default=Value(1))
    own_runs = runs.filter(run_request__change__requested_by=user.pk)
    own_running = own_runs.filter(state_type__in=RUNNING, deleted_upstream_at=None)
    recent = Q(ended_at__gte=now - RECENT) | Q(state_type__in=RUNNING, deleted_upstream_at=None)
    failed = runs.filter(state_type__in=FAILED, ended_at__gte=span.begins, ended_at__lt=span.ends)
    # 2. Their keys and numbers, then the rows, each once.
    stalled = (
        runs.order_by()
        .exclude(stalled_kind="")
        .values(place=F("environment_id"), slug=F("environment__slug"), kind=F("stalled_kind"))
        .annotate(number=CountRows("pk"), since=Min("stalled_since"), names=ArrayAgg("deployment_name", distinct=True))
    )
    lists, numbers, (stalls,) = first_keys(
        [
            running.order_by(Coalesce("started_at", "sort_at").desc(), "-pk")[:FEW],
            scheduled.order_by("expected_start_at", "pk")[:FEW],
            own_runs.filter(recent).order_by("-sort_at", "-pk")[:FEW],
            failed.order_by("-ended_at", "-pk")[:MOST_FAILURES],
            requests.filter(Q(requested_at__gte=now - RECENT) | Q(state__in=OPEN_REQUESTS)).order_by(
                is_open, "-sort_at", "-pk"
            )[:FEW],
        ],
        [
            running,
            scheduled,
            own_running,
            requests.filter(state__in=OPEN_REQUESTS),
            levels.breached_levels(permissions),
        ],
        [stalled],
    )
    rows = with_environments(runs, permissions).in_bulk({key for keys in lists[:4] for key in keys})
    found = RunRequest.objects.select_related("change", "spec", "environment", "run")
    own = found.in_bulk(lists[4]) if lists[4] else {}
    # 3. Each with the list that has exactly the rows that are counted.
    urls = [
        runs_url(state=RUNNING),
        runs_url(state="SCHEDULED", starts_from=now),
        runs_url(whose="mine", state=RUNNING),
        list_url("runs_runrequest", whose="mine", state=[str(state) for state in OPEN_REQUESTS]),
        list_url("runs_servicelevel", state="breached"),
    ]
    keys = ("running", "scheduled", "own runs", "own requests", "breaches")
    counts = [CappedCount(key, number, url) for key, number, url in zip(keys, numbers, urls, strict=True)]
    # A row can be gone since its key was read.
    picked = [[rows[key] for key in keys if key in rows] for keys in lists[:4]]
    return CurrentRuns(
        running=Listing(picked[0], counts[0]),
        scheduled=Listing(picked[1], counts[1]),
        own_runs=Listing(picked[2], counts[2]),
        own_requests=Listing([OwnRequest(own[key]) for key in lists[4] if key in own], counts[3]),
        failed=picked[3],
        breaches=counts[4],
        stalled=stalls,
    )


def with_environments(runs: QuerySet[Run], permissions: Permissions) -> QuerySet[Run]:
    """Select what the panels show of runs, and of failed ones `sees_group`: whether the reader sees their group."""
    # Without the large columns, which no panel shows.
    large = ("parameters", "access_deployment__parameter_schema", "access_deployment__definition")
    # The group of a failed run, for the failures by cause.
    group = ("failure__message", "failure__group__message")
    # Of a run of an earlier deployment of that name, the group can be one that the reader does not see.
    visible = permissions.q(Verb.SEE, deployment="access_deployment__")
    seen = FailureGroup.objects.filter(visible, pk=OuterRef("failure__group"))
    related = ("environment", "access_deployment__environment", "failure__group")
    return runs.select_related(*related).defer(*large, *group).annotate(sees_group=Exists(seen))


def own_requests(permissions: Permissions, user: User | AnonymousUser) -> QuerySet[RunRequest]:
    visible = permissions.q(Verb.SEE, deployment="deployment__")
    return RunRequest.objects.filter(visible, change__requested_by=user.pk)
