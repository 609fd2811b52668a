"""What a run is compared with: how long runs of its deployment take and how often they failed; and what failed in it.

One query, whatever is asked for: it is read with each update of an open page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from statistics import median, quantiles
from typing import Any
from uuid import UUID

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Q, QuerySet
from django.db.models.functions import JSONObject, Left, Right
from django.utils import timezone

from flows.models import Deployment
from runs.access.decisions import Permissions
from runs.models import Run, Verb

USUAL_DAYS = 30
# The newest completed runs say how long one takes now, and reading them stays cheap.
MOST_COMPLETED = 500
# With fewer than these a percentile is an accident.
FEWEST_COMPLETED = 5
FAILURE_DAYS = 7
MOST_FAILURES = 1000
FAILED = ("FAILED", "CRASHED")
# Characters of a message that are read: a line of a log can be a megabyte.
LONGEST_TEXT = 2000
# From here on a line of a log is an error.
ERROR = 40
FINISHED = "Finished in state "


@dataclass(frozen=True, slots=True)
class Usual:
    """How long the last completed runs of a deployment took, in seconds; `number` of them were read."""

    number: int
    p50: float
    p95: float


@dataclass(frozen=True, slots=True)
class FailedTask:
    """The first task run that failed."""

    prefect_id: UUID
    name: str
    message: str


@dataclass(frozen=True, slots=True)
class ErrorLine:
    """The last line of the log that is an error."""

    pk: int
    message: str


@dataclass(frozen=True, slots=True)
class History:
    """`failures` are the failed runs of the deployment since `failures_since`, this one included, up to a limit."""

    failures_since: date
    usual: Usual | None = None
    failures: int = 0
    task: FailedTask | None = None
    error: ErrorLine | None = None

    @property
    def has_more_failures(self) -> bool:
        return self.failures > MOST_FAILURES


def history_of(run: Run, permissions: Permissions, now: datetime, *, has_log: bool) -> History:
    """Read what the run is compared with; `has_log` says whether the reader can view the log and messages of tasks."""
    since = timezone.localdate(now) - timedelta(days=FAILURE_DAYS - 1)
    # 1. Of which other runs: what the deployment was before it was deployed anew counts too.
    wanted: dict[str, Any] = {}
    has_failed = run.state_type in FAILED
    if run.deployment_id:
        completed = Run.objects.filter(
            deployment=run.deployment_id, state_type="COMPLETED", sort_at__gte=now - timedelta(days=USUAL_DAYS)
        ).exclude(pk=run.pk)
        wanted["completed"] = newest(completed, MOST_COMPLETED).values("run_seconds")
    if run.deployment and has_failed:
        wanted["failed"] = newest(failed_runs(run.deployment, permissions, since), MOST_FAILURES + 1).values("pk")
    # 2. What failed in this one.
    if has_failed:
        tasks = run.task_runs.filter(state_type__in=FAILED).order_by("ended_at", "pk")
        wanted["task"] = tasks.values(
            found=JSONObject(prefect_id="prefect_id", name="name", message=Left("message", LONGEST_TEXT)),
        )[:1]
    if has_failed and has_log:
        # Prefect ends each log with the state, whose message the page has already. A traceback ends with what happened.
        lines = run.log_lines.filter(level__gte=ERROR).exclude(message__startswith=FINISHED).order_by("-at", "-pk")
        wanted["error"] = lines.values(found=JSONObject(pk="pk", message=Right("message", LONGEST_TEXT)))[:1]
    if not wanted:
        return History(since)
    # 3. One row, with an array for each of them.
    found = (
        Run.objects.filter(pk=run.pk).order_by().values(**{key: ArraySubquery(rows) for key, rows in wanted.items()})
    )
    row: Mapping[str, Any] = found.get()
    return History(
        since,
        usual_of(row.get("completed", ())),
        len(row.get("failed", ())),
        next((failed_task(each, has_message=has_log) for each in row.get("task", ())), None),
        next((ErrorLine(**each) for each in row.get("error", ())), None),
    )


def newest(runs: QuerySet[Run], most: int) -> QuerySet[Run]:
    return runs.order_by("-sort_at", "-pk")[:most]


def failed_runs(deployment: Deployment, permissions: Permissions, since: date) -> QuerySet[Run]:
    """Return the failed runs of the deployment since a day that the reader sees: those that the list of runs shows."""
    same = Deployment.objects.filter(environment=deployment.environment_id, full_name=deployment.full_name)
    visible: Q = permissions.q(Verb.SEE, deployment="access_deployment__")
    midnight = timezone.make_aware(datetime.combine(since, time.min))
    return Run.objects.filter(visible, deployment__in=same, state_type__in=FAILED, sort_at__gte=midnight)


def usual_of(seconds: Sequence[float]) -> Usual | None:
    if len(seconds) < FEWEST_COMPLETED:
        return None
    return Usual(len(seconds), median(seconds), quantiles(seconds, n=20, method="inclusive")[-1])


def failed_task(found: dict[str, str], *, has_message: bool) -> FailedTask:
    return FailedTask(UUID(found["prefect_id"]), found["name"], found["message"] if has_message else "")
