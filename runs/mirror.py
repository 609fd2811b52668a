"""Carries the facts of flow runs to Postgres: the only code that writes `Run` and its rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import batched
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from flows import connect, health
from flows import parameters as schemas
from flows.fitting import fitting, storable
from flows.models import Deployment, Environment
from flows.records import FlowRunRecord, NotFound, PrefectError
from flows.vault import Sealed
from runs import arrivals, artifacts, lifecycle
from runs.models import LogLine, Run, RunRequest, StateChange, TaskRun
from runs.models.run import ACTIVE
from runs.nudges import nudge

KEY = ["environment", "prefect_id"]
COLUMNS = [f.name for f in Run._meta.concrete_fields if f.name not in {"id", "is_ours", "detailed_at", *KEY}]
# Prefect's clock and ours differ, and a run may end while a sweep is reading.
OVERLAP = timedelta(minutes=2)
BATCH = 200
MIRROR_LOCK = 0x6D6972
LOGS_A_CALL = 1000
TAILED = 50
# A run hands its log lines in batches, the last ones after its last state, and not always in order.
LATE_LINES = timedelta(seconds=60)
DISORDER = timedelta(seconds=5)
# The parameters of a run without a known schema may be secrets: their names are kept, their values are not.
HIDDEN = "••••••"


def refresh(environment: Environment, prefect_ids: Iterable[UUID]) -> int:
    """Read these flow runs again, with their states, tasks and logs; returns how many Prefect still has."""
    found = glance(environment, prefect_ids)
    detail(environment, found)
    return len(found)


def glance(environment: Environment, prefect_ids: Iterable[UUID]) -> list[UUID]:
    """Read only what these flow runs are now; returns those that Prefect still has."""
    wanted = set(prefect_ids)
    if not wanted:
        return []
    records = connect.to(environment).flow_runs(list(wanted))
    keep(environment, records)
    found = [record.id for record in records]
    mark_gone(environment, wanted - set(found))
    return found


def sweep(environment: Environment) -> int:
    """Read every run that is not over and every one that ended since the last sweep; returns how many.

    Raises `PrefectError` after noting it in the health.
    """
    now = timezone.now()
    swept_at = health.of(environment).swept_at
    since = swept_at - OVERLAP if swept_at else now - timedelta(days=settings.HISTORY_DAYS)
    count = 0
    try:
        gateway = connect.to(environment)
        seen: set[UUID] = set()
        for page in batched(chain(gateway.active_flow_runs(), gateway.flow_runs_ended_since(since)), BATCH):
            seen |= {record.id for record in page}
            changed = keep(environment, page)
            detail(environment, [run.prefect_id for run in changed if worth_detail(run, now)])
            count += len(page)
        # What we hold open and Prefect did not list has ended long ago or is gone: ask for it by id.
        held = Run.objects.filter(environment=environment, state_type__in=ACTIVE, gone_at=None)
        awaited = RunRequest.objects.filter(environment=environment, flow_run_id__isnull=False, run=None)
        missing = {*held.values_list("prefect_id", flat=True), *awaited.values_list("flow_run_id", flat=True)} - seen
        count += refresh(environment, [pk for pk in missing if pk])
        tail(environment, list(growing(environment)))
    except (PrefectError, Sealed) as error:
        health.note_error(environment, error)
        raise
    if swept_at is None:
        arrivals.adopt(environment)
    health.note_swept(environment, now)
    return count


def chain(*sources: Iterator[FlowRunRecord]) -> Iterator[FlowRunRecord]:
    """The runs of several listings, each once: one that ends between two listings is in both."""
    seen: set[UUID] = set()
    for source in sources:
        for record in source:
            if record.id not in seen:
                seen.add(record.id)
                yield record


def worth_detail(run: Run, now: datetime) -> bool:
    """Old history gets its states and logs when somebody opens it."""
    return run.started_at is not None and (not run.is_terminal or (run.ended_at or now) > now - timedelta(hours=1))


@transaction.atomic
def keep(environment: Environment, records: Sequence[FlowRunRecord]) -> list[Run]:
    """Upsert runs, never an older state over a newer one; returns those whose state changed or that are new."""
    one_at_a_time(environment)
    known = {
        run.prefect_id: run
        for run in Run.objects.select_for_update(of=["self"])
        .filter(environment=environment, prefect_id__in=[record.id for record in records])
        .order_by("pk")
    }
    deployments = {
        deployment.prefect_id: deployment
        for deployment in Deployment.objects.filter(
            environment=environment, prefect_id__in=[r.deployment_id for r in records if r.deployment_id]
        )
    }
    ours = arrivals.asked_for(environment, records)
    now = timezone.now()
    fresh = [record for record in records if not is_stale(record, known.get(record.id))]
    rows = [row(environment, record, deployments.get(record.deployment_id), now) for record in fresh]  # type: ignore[arg-type]  # None is never a key
    Run.objects.bulk_create(
        map(fitting, rows), update_conflicts=True, unique_fields=KEY, update_fields=COLUMNS, batch_size=BATCH
    )
    Run.objects.filter(environment=environment, prefect_id__in=ours, is_ours=False).update(is_ours=True)
    changed = [r.id for r in fresh if r.id not in known or differs(r, known[r.id])]
    runs = list(
        Run.objects.filter(environment=environment, prefect_id__in=changed).select_related("environment", "deployment")
    )
    lifecycle.settle(runs)
    arrivals.note(environment, fresh, known=known, ours=ours, runs=runs)
    nudge("run", [run.pk for run in runs])
    return runs


def one_at_a_time(environment: Environment) -> None:
    """Row locks do not hold back two readers that both have news of a run nobody has yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [MIRROR_LOCK, environment.pk])


def is_stale(record: FlowRunRecord, known: Run | None) -> bool:
    """Whether this reading is older than what we have: two readers may overtake each other."""
    if known is None or known.state_at is None or record.state is None:
        return False
    return record.state.timestamp < known.state_at


def differs(record: FlowRunRecord, known: Run) -> bool:
    state = record.state.id if record.state else None
    return state != known.state_id or record.name != known.name or known.gone_at is not None


def row(environment: Environment, record: FlowRunRecord, deployment: Deployment | None, now: datetime) -> Run:
    state = record.state
    return Run(
        environment=environment,
        deployment=deployment,
        prefect_id=record.id,
        name=record.name,
        flow_name=deployment.flow_name if deployment else "",
        deployment_name=deployment.full_name if deployment else "",
        deployment_version=record.deployment_version,
        parameters=visible_parameters(record.parameters, deployment),
        tags=list(record.tags),
        state_id=state.id if state else None,
        state_type=state.type if state else "PENDING",
        state_name=state.name if state else "",
        state_message=state.message if state else "",
        state_at=state.timestamp if state else None,
        run_count=record.run_count,
        expected_start_at=record.planned_for or record.expected_start_at,
        started_at=record.started_at,
        ended_at=record.ended_at,
        run_seconds=record.total_run_seconds,
        work_pool_name=record.work_pool_name,
        work_queue_name=record.work_queue_name,
        infrastructure_pid=record.infrastructure_pid,
        is_auto_scheduled=record.auto_scheduled,
        created_upstream_at=record.created_at,
        seen_at=now,
        gone_at=None,
    )


def visible_parameters(parameters: dict[str, Any], deployment: Deployment | None) -> dict[str, Any]:
    if deployment is None:
        return dict.fromkeys(parameters, HIDDEN)
    return schemas.mask(deployment.parameter_schema, parameters)


def mark_gone(environment: Environment, prefect_ids: set[UUID]) -> None:
    """Prefect no longer has these runs: somebody deleted them there."""
    with transaction.atomic():
        gone = list(Run.objects.filter(environment=environment, prefect_id__in=prefect_ids, gone_at=None))
        Run.objects.filter(pk__in=[run.pk for run in gone]).update(gone_at=timezone.now())
        nudge("run", [run.pk for run in gone])


def detail(environment: Environment, prefect_ids: Sequence[UUID]) -> None:
    """Read the states, task runs and new log lines of these runs."""
    runs = list(Run.objects.filter(environment=environment, prefect_id__in=prefect_ids))
    if not runs:
        return
    gateway = connect.to(environment)
    tail(environment, runs)
    for run in runs:
        try:
            states = gateway.states(run.prefect_id)
        except NotFound:
            continue
        StateChange.objects.bulk_create(
            [
                fitting(
                    StateChange(run=run, prefect_id=s.id, type=s.type, name=s.name, message=s.message, at=s.timestamp)
                )
                for s in states
            ],
            ignore_conflicts=True,
        )
    Run.objects.filter(pk__in=[run.pk for run in runs]).update(detailed_at=timezone.now())
    with transaction.atomic():
        nudge("run", [run.pk for run in runs])


def growing(environment: Environment) -> QuerySet[Run]:
    """Runs whose log may grow: those at work, and those that ended a moment ago, whose last lines come late."""
    at_work = Q(state_type__in=["RUNNING", "CANCELLING"]) | Q(ended_at__gte=timezone.now() - LATE_LINES)
    return Run.objects.filter(at_work, environment=environment, gone_at=None).order_by("-started_at")[:TAILED]


def tail(environment: Environment, runs: Sequence[Run]) -> int:
    """Read the task runs, artifacts and new log lines of these runs; returns how many lines are new."""
    gateway = connect.to(environment)
    by_id = {run.prefect_id: run for run in runs}
    keep_task_runs(by_id, environment)
    artifacts.keep(environment, by_id)
    new: Counter[int] = Counter()
    last = dict(
        LogLine.objects.filter(run__in=runs).values_list("run").annotate(last=Max("at")).values_list("run", "last")
    )
    for run in runs:
        after = last[run.pk] - DISORDER if run.pk in last else None
        while True:
            lines = gateway.logs([run.prefect_id], after=after, limit=LOGS_A_CALL)
            # The last line we have comes again: what follows within its instant would be missed without it.
            known = LogLine.objects.filter(run=run, prefect_id__in=[line.id for line in lines])
            new[run.pk] += len(lines) - known.count()
            LogLine.objects.bulk_create(
                [
                    LogLine(
                        run=run,
                        prefect_id=line.id,
                        at=line.timestamp,
                        level=line.level,
                        message=storable(line.message),
                        task_run_id=line.task_run_id,
                    )
                    for line in lines
                ],
                ignore_conflicts=True,
            )
            if len(lines) < LOGS_A_CALL or lines[-1].timestamp == after:
                break
            after = lines[-1].timestamp
    nudge("run", [pk for pk, count in new.items() if count])
    return new.total()


def keep_task_runs(by_id: dict[UUID, Run], environment: Environment) -> None:
    records = connect.to(environment).task_runs(list(by_id))
    columns = ["name", "state_type", "state_name", "message", "started_at", "ended_at", "run_count", "run_seconds"]
    TaskRun.objects.bulk_create(
        [
            fitting(
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
                )
            )
            for record in records
            if record.flow_run_id in by_id
        ],
        update_conflicts=True,
        unique_fields=["run", "prefect_id"],
        update_fields=[*columns, "is_cached"],
    )
