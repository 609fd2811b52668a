"""Runs of any size for the page of a run: task runs with dependencies and retries, a log, subflows, runs before it."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta

from django.db import connection
from django.utils import timezone

from benchmarks.fake_world import deployment_of
from flows import definition
from flows.catalog import definition_reader
from flows.models import Deployment, Environment
from runs.models import LogLine, Run, StateChange, TaskRun

# One task of this many failed, and one is still running if the run is.
TASKS = ("extract", "clean", "join", "train", "score", "publish")
TASK_MESSAGE = "Task run encountered an exception ValueError: column price is empty"
LAST_ERROR = "Traceback (most recent call last):\n  …\nValueError: column price is empty"


def make_deployment(environment: Environment) -> Deployment:
    prefect_id = uuid.uuid4()
    described = definition_reader.describe(environment, deployment_of(prefect_id, "1"), {})
    return Deployment.objects.create(
        environment=environment,
        prefect_id=prefect_id,
        flow_id=uuid.uuid4(),
        flow_name="nightly-load",
        name="nightly-load",
        full_name="nightly-load/nightly-load",
        version="1",
        definition=described,
        definition_fingerprint=definition.fingerprint(described),
        synced_at=timezone.now(),
    )


def make_run(deployment: Deployment, name: str, state_type: str, started: datetime, seconds: float) -> Run:
    is_over = state_type != "RUNNING"
    ended = started + timedelta(seconds=seconds)
    run = Run.objects.create(
        environment=deployment.environment,
        deployment=deployment,
        access_deployment=deployment,
        prefect_id=uuid.uuid4(),
        name=name,
        flow_name=deployment.flow_name,
        deployment_name=deployment.full_name,
        state_type=state_type,
        state_name=state_type.title(),
        state_at=ended if is_over else started,
        state_message="Flow run encountered an exception: 1/6 states failed." if state_type == "FAILED" else "",
        run_count=1,
        expected_start_at=started,
        started_at=started,
        ended_at=ended if is_over else None,
        run_seconds=seconds,
        created_upstream_at=started - timedelta(seconds=5),
        synced_at=timezone.now(),
        detailed_at=timezone.now(),
        active_at=timezone.now(),
    )
    moves = [("SCHEDULED", -5.0), ("PENDING", -3.0), ("RUNNING", 0.0), *([(state_type, seconds)] if is_over else [])]
    StateChange.objects.bulk_create(
        StateChange(
            run=run,
            prefect_id=uuid.uuid4(),
            type=kind,
            name=kind.title(),
            at=started + timedelta(seconds=after),
        )
        for kind, after in moves
    )
    return run


def add_tasks(run: Run, number: int) -> list[TaskRun]:
    """Add task runs, three at a time: each depends on the one that started three before it."""
    assert run.started_at
    seconds = ((run.ended_at or timezone.now()) - run.started_at).total_seconds()
    step = seconds / (number / 3 + 1)
    made: list[TaskRun] = []
    for row in range(number):
        begins = run.started_at + timedelta(seconds=row // 3 * step + row % 3 * step / 5)
        is_last = row == number - 1
        state_type = run.state_type if is_last and run.state_type in ("FAILED", "RUNNING") else "COMPLETED"
        is_retried = row % 40 == 7
        ended = None if state_type == "RUNNING" else begins + timedelta(seconds=step * 0.9)
        name = TASKS[row * len(TASKS) // number]
        task = TaskRun(
            run=run,
            prefect_id=uuid.uuid4(),
            name=f"{name}-{row}",
            task_key=f"{name}-1a2b3c4d",
            state_type=state_type,
            state_name=state_type.title(),
            message=TASK_MESSAGE if state_type == "FAILED" else "",
            started_at=begins,
            ended_at=ended,
            run_count=2 if is_retried else 1,
            run_seconds=step * 0.9,
            upstream=[made[row - 3].prefect_id] if row >= 3 else [],
        )
        if is_retried and ended:
            first, second = begins + timedelta(seconds=step * 0.3), begins + timedelta(seconds=step * 0.6)
            spans = [[begins.isoformat(), first.isoformat()], [second.isoformat(), ended.isoformat()]]
            task.attempts = {"run_count": 2, "is_over": True, "spans": spans}
        made.append(task)
    return TaskRun.objects.bulk_create(made, batch_size=1000)


def add_lines(run: Run, number: int, tasks: list[TaskRun]) -> None:
    """Add a log over the time of the run. Of a failed one the last lines are errors."""
    assert run.started_at
    step = ((run.ended_at or timezone.now()) - run.started_at) / (number + 1)
    has_failed = run.state_type == "FAILED"
    LogLine.objects.bulk_create(
        (
            LogLine(
                run=run,
                prefect_id=uuid.uuid4(),
                at=run.started_at + step * row,
                level=40 if has_failed and row >= number - 2 else 20,
                message=LAST_ERROR if has_failed and row == number - 1 else f"Read part {row} of {number}: 1,024 rows.",
                task_run_id=tasks[row * len(tasks) // number].prefect_id if tasks else None,
            )
            for row in range(number)
        ),
        batch_size=5000,
    )


def add_subflows(run: Run, task: TaskRun, states: tuple[str, ...]) -> list[Run]:
    """Add runs that are part of this one; the first stands behind `task`."""
    assert run.deployment
    assert task.started_at
    made = []
    for row, state_type in enumerate(states):
        child = make_run(run.deployment, f"quiet-otter-{row}", state_type, task.started_at, 20)
        child.parent = run
        child.parent_task_run_id = task.prefect_id if row == 0 else uuid.uuid4()
        child.save()
        add_tasks(child, 4)
        made.append(child)
    return made


def add_earlier_runs(deployment: Deployment, number: int, seconds: float, state_type: str = "COMPLETED") -> None:
    now = timezone.now()
    Run.objects.bulk_create(
        Run(
            environment=deployment.environment,
            deployment=deployment,
            access_deployment=deployment,
            prefect_id=uuid.uuid4(),
            name=f"earlier-{row}",
            flow_name=deployment.flow_name,
            deployment_name=deployment.full_name,
            state_type=state_type,
            run_seconds=seconds * (0.8 + row % 20 / 50),
            created_upstream_at=now - timedelta(minutes=20 * row + 30),
            synced_at=now,
            detailed_at=now,
        )
        for row in range(number)
    )


def analyze() -> None:
    """Let Postgres know its tables, as it does by itself after a while."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
