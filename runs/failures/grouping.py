"""Put failed runs into groups: the only code that inserts `FailureGroup`, and that writes `FailedRun` and `FailureDay`.

What failed in a run is not known when it fails: its tasks and the last lines of its log are read after its state. So a
consumer notes the failure (`note`), and a task groups it (`group_due`) when the details have been read, or without them
when they do not come. A fingerprint is therefore made once, from all that there is.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Left
from django.utils import timezone

from runs import events
from runs.change_feed import publish
from runs.failures import fingerprint
from runs.failures.fingerprint import Cause
from runs.models import FailedRun, FailureAct, FailureGroup, LogLine, Run, RunEvent, TaskRun
from runs.models.run import FAILED

# Flows send their logs every 2 s, and a sweep or the follower reads them until then.
SETTLE = timedelta(seconds=30)
# Without details for so long, Prefect cannot be reached or has none.
PATIENCE = timedelta(minutes=5)
AT_ONCE = 100
# Batches of one task, which may run for a minute.
MOST_BATCHES = 50
# From here on a line of a log is an error; Prefect ends each log with the state, whose message is known.
ERROR, FINISHED = 40, "Finished in state "
Kind = RunEvent.Kind

COUNT_DAYS = """
    INSERT INTO runs_failureday AS known (group_id, day, number)
    SELECT * FROM unnest(%s::bigint[], %s::date[], %s::int[])
    ON CONFLICT (group_id, day) DO UPDATE SET number = known.number + excluded.number
"""


def note(event: RunEvent) -> None:
    """Note that a run failed, from an event of it: a consumer, which writes rows only.

    A run that is not failed any more has been retried; it is noted if it fails again.
    """
    run = Run.objects.filter(pk=event.run_id or 0, state_type__in=FAILED).defer("parameters").first()
    if run is None or FailedRun.objects.filter(run=run, state_id=run.state_id).exists():
        return
    columns = {
        "group": None,
        "state_id": run.state_id,
        "message": run.state_message[: fingerprint.LONGEST_MESSAGE],
        "failed_at": run.state_at or event.occurred_at,
        "seen_at": event.observed_at,
    }
    FailedRun.objects.update_or_create(run=run, defaults=columns)


def due() -> QuerySet[FailedRun]:
    """Return the noted failures that can be grouped, or have waited long enough."""
    now = timezone.now()
    has_details = Q(run__detailed_at__gte=F("seen_at")) | Q(run__started_at=None)
    is_settled = Q(seen_at__lte=now - SETTLE) & has_details
    # The first condition is that of the index.
    return FailedRun.objects.filter(is_settled | Q(seen_at__lte=now - PATIENCE), group=None)


def has_due() -> bool:
    return due().exists()


def group_due() -> bool:
    """Group the failures that are due, some in one transaction; return whether there are more."""
    return all(group_some() >= AT_ONCE for _ in range(MOST_BATCHES))


@transaction.atomic
def group_some() -> int:
    """Group the first failures that are due; return how many."""
    # Not those that a consumer is writing, or another process is grouping.
    rows = due().select_for_update(of=["self"], skip_locked=True).order_by("seen_at", "pk")
    keys = list(rows.values_list("pk", flat=True)[:AT_ONCE])
    # Without the columns that can be large.
    runs = Run.objects.select_related("access_deployment").defer(
        "parameters", "access_deployment__parameter_schema", "access_deployment__definition"
    )
    by_key = runs.in_bulk(keys)
    failures = [each for each in FailedRun.objects.filter(pk__in=keys).order_by("failed_at", "pk") if each.pk in by_key]
    record(with_known_tasks([Failure(each, by_key[each.pk], cause) for each, cause in causes_of(failures)]))
    publish("run", by_key)
    return len(keys)


@dataclass(frozen=True, slots=True)
class Failure:
    """One failure of a run, with its cause."""

    row: FailedRun
    run: Run
    cause: Cause

    @property
    def governing(self) -> str:
        """The name of the deployment whose grants decide about it; a redeployed one has the same."""
        return self.run.access_deployment.full_name if self.run.access_deployment else self.run.flow_name

    @property
    def fingerprint(self) -> str:
        return self.cause.fingerprint(self.governing, self.run.what)

    @property
    def without_task(self) -> tuple[int, str, str, str, str]:
        """All that the fingerprint is made of but the task, with the environment."""
        return self.run.environment_id, self.governing, self.run.what, self.cause.exception, self.cause.pattern

    @property
    def has_details(self) -> bool:
        return self.run.detailed_at is not None and self.run.detailed_at >= self.row.seen_at

    @property
    def day(self) -> date:
        return timezone.localdate(self.row.failed_at, timezone.get_default_timezone())


# Causes ---------------------------------------------------------------------------------------------------------------


def causes_of(failures: Sequence[FailedRun]) -> Iterable[tuple[FailedRun, Cause]]:
    """Return each failure with its cause, in two queries: the tasks that failed, and the errors of silent runs."""
    tasks = first_failed_tasks([each.pk for each in failures])
    silent = [
        each.pk
        for each in failures
        if fingerprint.says_nothing(each.message)
        and fingerprint.says_nothing(tasks[each.pk]["text"] if each.pk in tasks else "")
    ]
    errors = last_errors(silent)
    for each in failures:
        task = tasks.get(each.pk, {"name": "", "task_key": "", "text": ""})
        yield (
            each,
            fingerprint.cause_of(
                each.message,
                task_name=task["name"],
                task_key=task["task_key"],
                task_message=task["text"],
                error=errors.get(each.pk, ""),
            ),
        )


def first_failed_tasks(runs: Collection[int]) -> Mapping[int, dict[str, Any]]:
    """Return the task run of each run that failed first."""
    failed = TaskRun.objects.filter(run__in=runs, state_type__in=FAILED)
    rows = failed.order_by("run", "ended_at", "pk").distinct("run").annotate(text=Left("message", 10_000))
    return {row["run"]: dict(row) for row in rows.values("run", "name", "task_key", "text")}


def last_errors(runs: Collection[int]) -> Mapping[int, str]:
    """Return the last line of each log that is an error."""
    if not runs:
        return {}
    lines = LogLine.objects.filter(run__in=runs, level__gte=ERROR).exclude(message__startswith=FINISHED)
    rows = lines.order_by("run", "-at", "-pk").distinct("run").annotate(text=Left("message", 10_000))
    return dict(rows.values_list("run", "text"))


def with_known_tasks(failures: Sequence[Failure]) -> list[Failure]:
    """Return the failures; those whose tasks were never read get the task of the newest group that is else the same.

    A server that could not be asked for a while must not make a second group of everything that failed there.
    """
    blind = {each.row.pk for each in failures if not each.has_details and not each.cause.task_name}
    patterns = {each.cause.pattern for each in failures if each.row.pk in blind and each.cause.pattern}
    if not patterns:
        return list(failures)
    groups = FailureGroup.objects.filter(pattern__in=patterns).order_by("last_seen_at", "pk")
    names = ("environment_id", "access_deployment__full_name", "flow_name", "what", "exception", "pattern", "task_name")
    known = {
        (environment, governing or flow, *rest): task
        for environment, governing, flow, *rest, task in groups.values_list(*names)
    }
    return [
        replace(each, cause=replace(each.cause, task_name=known.get(each.without_task, "")))
        if each.row.pk in blind
        else each
        for each in failures
    ]


# Groups ---------------------------------------------------------------------------------------------------------------


def record(failures: Sequence[Failure]) -> None:
    """Count these failures in their groups, in the current transaction."""
    by_key: dict[tuple[int, str], list[Failure]] = defaultdict(list)
    for each in failures:
        by_key[each.run.environment_id, each.fingerprint].append(each)
    # 1. New groups. A conflict is no error: the same failure can be grouped by another process at the same time.
    rows = [new_group(print_, members[-1]) for (_, print_), members in by_key.items()]
    FailureGroup.objects.bulk_create(rows, ignore_conflicts=True)
    # 2. Locked in the order of their keys, so that two processes cannot deadlock.
    found = FailureGroup.objects.select_for_update().filter(fingerprint__in=[print_ for _, print_ in by_key])
    written: list[RunEvent] = []
    days: Counter[tuple[int, date]] = Counter()
    for group in found.order_by("pk"):
        members = by_key.get((group.environment_id, group.fingerprint), [])
        if members:
            written += count(group, members)
            days.update((group.pk, each.day) for each in members)
    # 3. The counts that outlive the runs, and who is notified.
    if days:
        groups, dates = zip(*days, strict=True)
        with connection.cursor() as cursor:
            cursor.execute(COUNT_DAYS, [list(groups), list(dates), list(days.values())])
    events.record_many(written)


def new_group(print_: str, newest: Failure) -> FailureGroup:
    run, cause = newest.run, newest.cause
    return FailureGroup(
        environment_id=run.environment_id,
        access_deployment_id=run.access_deployment_id,
        flow_name="" if run.access_deployment_id else run.flow_name,
        what=run.what,
        fingerprint=print_,
        task_name=cause.task_name,
        exception=cause.exception,
        pattern=cause.pattern,
        message=cause.message,
        first_seen_at=newest.row.failed_at,
        last_seen_at=newest.row.failed_at,
    )


def count(group: FailureGroup, members: Sequence[Failure]) -> list[RunEvent]:
    """Add failures to their locked group, in their order; return the event if it is new or came back."""
    is_new, newest = group.number == 0, members[-1]
    group.number += len(members)
    group.first_seen_at = min(group.first_seen_at, members[0].row.failed_at)
    if newest.row.failed_at >= group.last_seen_at:
        group.last_seen_at, group.message = newest.row.failed_at, newest.cause.message
        # The one that is deployed now: its tags decide, too, who sees the group.
        group.access_deployment_id = newest.run.access_deployment_id
    # What failed before it was resolved, and was only read afterwards, does not count as its return.
    is_back = group.state == group.State.RESOLVED and newest.row.failed_at > group.state_at
    if is_back:
        group.state, group.state_at, group.state_by_name, group.reason = group.State.REGRESSED, timezone.now(), "", ""
    group.save()
    FailedRun.objects.filter(pk__in=[each.row.pk for each in members]).update(group=group)
    if not (is_new or is_back):
        return []
    act = FailureAct.Kind.APPEARED if is_new else FailureAct.Kind.REGRESSED
    FailureAct.objects.create(group=group, kind=act)
    return [event_of(Kind.FAILURE_APPEARED if is_new else Kind.FAILURE_REGRESSED, group, newest.run)]


def event_of(kind: Kind, group: FailureGroup, run: Run) -> RunEvent:
    return RunEvent(
        kind=kind,
        environment_id=group.environment_id,
        deployment_id=run.deployment_id,
        run_id=run.pk,
        # Never the message, which quotes the log.
        data={"group": group.pk},
    )
