"""The states, task runs, artifacts and log lines of flow runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q, QuerySet
from django.utils import timezone

from flows.db_text import sanitize, sanitize_json
from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.records import NotFound
from runs.change_feed import publish
from runs.mirror import artifacts
from runs.models import LogLine, Run, StateChange, TaskRun

LOGS_A_CALL = 1000
TAILED = 50
# A run hands its log lines in batches, the last ones after its last state, and not always in order.
LATE_LINES = timedelta(seconds=60)
DISORDER = timedelta(seconds=5)
# Who has said nothing for so long is listened to with every sweep only.
SILENCE = timedelta(seconds=60)


def fetch_details(environment: Environment, prefect_ids: Sequence[UUID]) -> None:
    """Read the states, task runs and new log lines of these runs."""
    runs = list(Run.objects.filter(environment=environment, prefect_id__in=prefect_ids))
    if not runs:
        return
    gateway = connect.client_for(environment)
    tail_logs(environment, runs)
    for run in runs:
        try:
            states = gateway.states(run.prefect_id)
        except NotFound:
            continue
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
    with transaction.atomic():
        publish("run", [run.pk for run in runs])


def with_open_logs(environment: Environment) -> QuerySet[Run]:
    """Runs whose log may grow: those at work, and those that ended a moment ago, whose last lines come late."""
    at_work = Q(state_type__in=["RUNNING", "CANCELLING"]) | Q(ended_at__gte=timezone.now() - LATE_LINES)
    return Run.objects.filter(at_work, environment=environment, deleted_upstream_at=None).order_by("-started_at")[
        :TAILED
    ]


def recently_active(environment: Environment) -> list[Run]:
    """Those of them that said or did something lately: each is a question to Prefect, and many only work."""
    since = timezone.now() - SILENCE
    runs = list(with_open_logs(environment))
    spoke = set(LogLine.objects.filter(run__in=runs, at__gte=since).values_list("run", flat=True))
    return [run for run in runs if run.pk in spoke or (run.state_at and run.state_at >= since)]


def tail_logs(environment: Environment, runs: Sequence[Run]) -> int:
    """Read the task runs, artifacts and new log lines of these runs; returns how many lines are new."""
    gateway = connect.client_for(environment)
    by_id = {run.prefect_id: run for run in runs}
    upsert_task_runs(by_id, environment)
    artifacts.upsert_artifacts(environment, by_id)
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
                        message=sanitize(line.message),
                        task_run_id=line.task_run_id,
                    )
                    for line in lines
                ],
                ignore_conflicts=True,
            )
            if len(lines) < LOGS_A_CALL or lines[-1].timestamp == after:
                break
            after = lines[-1].timestamp
    publish("run", [pk for pk, count in new.items() if count])
    return new.total()


def upsert_task_runs(by_id: dict[UUID, Run], environment: Environment) -> None:
    records = connect.client_for(environment).task_runs(list(by_id))
    columns = ["name", "state_type", "state_name", "message", "started_at", "ended_at", "run_count", "run_seconds"]
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
                )
            )
            for record in records
            if record.flow_run_id in by_id
        ],
        update_conflicts=True,
        unique_fields=["run", "prefect_id"],
        update_fields=[*columns, "is_cached"],
    )
