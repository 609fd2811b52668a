"""Mirror the states, task runs, artifacts and log lines of flow runs."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import batched
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Case, DateTimeField, Exists, F, Max, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Greatest
from django.utils import timezone

from flows.db_text import sanitize, sanitize_json
from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.records import LogRecord, NotFound, Rejected
from runs.change_feed import publish
from runs.mirror import artifacts, attempts
from runs.models import LogLine, Run, StateChange, TaskRun
from runs.models.run import ACTIVE, TERMINAL

log = logging.getLogger(__name__)

# Lines written in one statement.
LINES_AT_ONCE = 1000
# Key of the advisory locks on the logs of runs; any constant that nothing else uses.
LINES_LOCK = 0x6C696E65
# Most runs whose logs are followed at once; the others are read by each sweep.
TAILED = 50
# A sweep reads the details of runs that ended within this time, and of so many at once: it may take a minute.
DETAILED = timedelta(hours=1)
MOST_DETAILED = 250
# Prefect's clock and this one differ.
CLOCK_SKEW = timedelta(minutes=2)
# Flows send their log in batches every 2 s: the last lines arrive after the last state, and not always in order.
LATE_LINES = timedelta(seconds=60)
DISORDER = timedelta(seconds=5)
NEVER = datetime.min.replace(tzinfo=UTC)
# A task can wait for thousands of others; the page of a run names a few.
MOST_UPSTREAM = 100
# A run without news for this long is read only by each sweep.
SILENCE = timedelta(seconds=60)


def fetch_details(environment: Environment, prefect_ids: Sequence[UUID]) -> None:
    """Read the states, task runs, artifacts, heartbeats and new log lines of these runs."""
    runs = list(Run.objects.filter(environment=environment, prefect_id__in=prefect_ids))
    if not runs:
        return
    client = connect.client_for(environment.server)
    tail_logs(environment, runs)
    attempts.record_attempts(environment, runs)
    record_heartbeats(environment, runs)
    for run in runs:
        try:
            states = client.states(run.prefect_id)
        except NotFound:
            continue  # deleted meanwhile; the next sweep marks it
        StateChange.objects.bulk_create(
            [
                sanitize_json(
                    StateChange(run=run, prefect_id=s.id, type=s.type, name=s.name, message=s.message, at=s.timestamp)
                )
                for s in states
            ],
            ignore_conflicts=True,
        )
    Run.objects.filter(pk__in=[run.pk for run in runs]).update(detailed_at=timezone.now())
    # One NOTIFY for all of them, after everything is written.
    with transaction.atomic():
        publish("run", [run.pk for run in runs])


def begun_or_opened(environment: Environment, prefect_ids: Collection[UUID]) -> list[UUID]:
    """Return those of these runs whose details can have changed.

    A run that has not begun has neither tasks nor a log, only states, which are read when its page is opened and with
    each event from then on. Each run costs two calls to Prefect, and would slow it while it creates many.
    """
    runs = Run.objects.filter(environment=environment, prefect_id__in=prefect_ids)
    changed = runs.exclude(state_type="SCHEDULED", started_at=None, detailed_at=None)
    return list(changed.values_list("prefect_id", flat=True))


def without_details(environment: Environment) -> list[UUID]:
    """Return the runs whose details were not read since they moved: the state that they are in is not among those read.

    Of older runs details are read when the page is opened.
    """
    read = StateChange.objects.filter(run=OuterRef("pk"), prefect_id=OuterRef("state_id"))
    runs = Run.objects.filter(
        # Not for ever, should Prefect not list the state of a run among its states.
        Q(detailed_at=None) | Q(detailed_at__lt=F("state_at") + CLOCK_SKEW),
        ~Exists(read),
        environment=environment,
        started_at__isnull=False,
        deleted_upstream_at=None,
    ).exclude(state_id=None)
    # Two queries, each of which has an index.
    ended = runs.filter(state_type__in=TERMINAL, ended_at__gt=timezone.now() - DETAILED).order_by("-ended_at")
    active = runs.filter(state_type__in=ACTIVE)
    return [
        *active.values_list("prefect_id", flat=True)[:MOST_DETAILED],
        *ended.values_list("prefect_id", flat=True)[:MOST_DETAILED],
    ]


def with_open_logs(environment: Environment) -> QuerySet[Run]:
    """Return the runs whose log may grow: active ones, and those that ended a moment ago."""
    may_grow = Q(state_type__in=["RUNNING", "CANCELLING"]) | Q(ended_at__gte=timezone.now() - LATE_LINES)
    return Run.objects.filter(may_grow, environment=environment, deleted_upstream_at=None).order_by("-started_at")[
        :TAILED
    ]


def recently_active(environment: Environment, hinted: Collection[UUID] = ()) -> list[Run]:
    """Return those of them with a recent log line or state: each costs a call to Prefect, and many only compute.

    `hinted` are the runs, by Prefect's ids, of which a new line was announced.
    """
    since = timezone.now() - SILENCE
    runs = list(with_open_logs(environment))
    recent = set(LogLine.objects.filter(run__in=runs, at__gte=since).values_list("run", flat=True))
    return [
        run for run in runs if run.pk in recent or run.prefect_id in hinted or (run.state_at and run.state_at >= since)
    ]


def tail_logs(environment: Environment, runs: Sequence[Run]) -> int:
    """Read the task runs, artifacts and new log lines of these runs; return how many lines are new."""
    by_id = {run.prefect_id: run for run in runs}
    latest = upsert_task_runs(by_id, environment)
    artifacts.upsert_artifacts(environment, by_id)
    record_activity(runs, latest)
    return tail_lines(environment, runs)


def with_new_lines(environment: Environment, runs: Sequence[Run]) -> list[Run]:
    """Return those of these runs that have new lines, found by one call for all of them.

    A quick look and not a complete one: lines that arrive late are older than known ones, and a run that logs much can
    hide the others.
    """
    since = LogLine.objects.filter(run__in=runs).aggregate(last=Max("at"))["last"] or timezone.now() - SILENCE
    lines = connect.client_for(environment.server).newest_lines(
        [run.prefect_id for run in runs], since=since - DISORDER
    )
    known = LogLine.objects.filter(run__in=runs, prefect_id__in=[line.id for line in lines])
    seen = set(known.values_list("prefect_id", flat=True))
    new = {line.flow_run_id for line in lines if line.id not in seen}
    return [run for run in runs if run.prefect_id in new]


def tail_lines(environment: Environment, runs: Sequence[Run]) -> int:
    """Read the new log lines of these runs; return how many there are. Each run continues from its own last line."""
    client = connect.client_for(environment.server)
    latest: dict[int, datetime] = {}
    new: Counter[int] = Counter()
    last = dict(
        LogLine.objects.filter(run__in=runs).values_list("run").annotate(last=Max("at")).values_list("run", "last")
    )
    for run in runs:
        # The last known lines are read again, because others may have the same timestamp. Conflicts are ignored.
        after = last[run.pk] - DISORDER if run.pk in last else None
        for lines in batched(client.logs(run.prefect_id, after=after), LINES_AT_ONCE):
            new[run.pk] += store_lines(run, lines)
            latest[run.pk] = max([*(line.timestamp for line in lines), latest.get(run.pk, NEVER)])
    record_activity(runs, latest)
    publish("run", [pk for pk, count in new.items() if count])
    return new.total()


@transaction.atomic
def store_lines(run: Run, lines: Sequence[LogRecord]) -> int:
    """Store those of these lines of a run that are new; return how many.

    One writer a run at a time, so that keys become visible in their order: who follows a log asks for those after the
    last key.
    """
    known = set(
        LogLine.objects.filter(run=run, prefect_id__in=[line.id for line in lines]).values_list("prefect_id", flat=True)
    )
    new = [line for line in lines if line.id not in known]
    if not new:
        return 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [LINES_LOCK, run.pk % 2**31])
    rows = [
        LogLine(
            run=run,
            prefect_id=line.id,
            at=line.timestamp,
            level=line.level,
            message=sanitize(line.message),
            task_run_id=line.task_run_id,
        )
        for line in new
    ]
    # The sweep and the follower can read the same lines at once.
    LogLine.objects.bulk_create(rows, ignore_conflicts=True)
    return len(new)


def record_activity(runs: Sequence[Run], latest: Mapping[int, datetime]) -> None:
    """Move the last signs of life of runs forward to these times by primary key; never back, never into the future."""
    now = timezone.now()
    known = {run.pk: run.active_at or NEVER for run in runs}
    newer = {pk: min(at, now) for pk, at in latest.items() if at > known[pk]}
    if newer:
        moment = Case(*[When(pk=pk, then=Value(at)) for pk, at in newer.items()], output_field=DateTimeField())
        # GREATEST, which ignores null: a sweep and the follower read the same run at once.
        Run.objects.filter(pk__in=newer).update(active_at=Greatest("active_at", moment))


def record_heartbeats(environment: Environment, runs: Sequence[Run]) -> None:
    """Record the last heartbeats of those of these runs that seem quiet, if they send any and Prefect keeps events."""
    before = timezone.now() - SILENCE
    signs = {run: run.active_at or run.started_at for run in runs if run.state_type == "RUNNING"}
    quiet = {run: sign for run, sign in signs.items() if sign and sign < before}
    if not quiet:
        return
    ids = [run.prefect_id for run in quiet]
    try:
        beats = connect.client_for(environment.server).heartbeats(ids, since=min(quiet.values()))
    except (NotFound, Rejected) as error:
        log.info("%s: no heartbeats: %s", environment, error)
        return
    record_activity(list(quiet), {run.pk: beats[run.prefect_id] for run in quiet if run.prefect_id in beats})


def upsert_task_runs(by_id: dict[UUID, Run], environment: Environment) -> dict[int, datetime]:
    """Upsert the task runs of these runs, with one call for all of them; return the last change by run."""
    records = connect.client_for(environment.server).task_runs(list(by_id))
    columns = ["name", "state_type", "state_name", "message", "started_at", "ended_at", "run_count", "run_seconds"]
    columns += ["is_cached", "task_key", "upstream"]
    TaskRun.objects.bulk_create(
        [
            sanitize_json(
                TaskRun(
                    run=by_id[record.flow_run_id],
                    prefect_id=record.id,
                    name=record.name,
                    state_type=record.state_type,
                    state_name=record.state_name,
                    message=record.message,
                    started_at=record.started_at,
                    ended_at=record.ended_at,
                    run_count=record.run_count,
                    run_seconds=record.total_run_seconds,
                    is_cached=record.cached,
                    task_key=record.task_key,
                    upstream=list(record.upstream[:MOST_UPSTREAM]),
                )
            )
            for record in records
            if record.flow_run_id in by_id
        ],
        update_conflicts=True,
        unique_fields=["run", "prefect_id"],
        update_fields=columns,
    )
    latest: dict[int, datetime] = {}
    for record in records:
        if record.flow_run_id in by_id and (at := record.ended_at or record.started_at):
            pk = by_id[record.flow_run_id].pk
            latest[pk] = max(at, latest.get(pk, NEVER))
    return latest
