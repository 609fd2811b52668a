"""Mirror the attempts of task runs that were retried: Prefect has them only as states, one call for each task run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.records import StateRecord
from runs.models import Run, TaskRun

# Task runs read at once. The next reading of the run continues with the others.
MOST_READ = 20
# A task that polls can have run for thousands of times; the last ones say enough.
MOST_ATTEMPTS = 50


def record_attempts(environment: Environment, runs: Sequence[Run]) -> None:
    """Read the attempts of task runs that have begun another one, or ended, since these were last read."""
    client = connect.client_for(environment.server)
    retried = TaskRun.objects.filter(run__in=runs, run_count__gt=1).order_by("pk")
    stale = [task for task in retried.only("prefect_id", "run_count", "ended_at", "attempts") if not is_current(task)]
    for task in stale[:MOST_READ]:
        task.attempts = {
            "run_count": task.run_count,
            "is_over": task.ended_at is not None,
            "spans": spans(client.task_run_states(task.prefect_id)),
        }
        task.save(update_fields=["attempts"])


def is_current(task: TaskRun) -> bool:
    """Return whether the attempts were read since the last one began or ended."""
    read = (task.attempts.get("run_count"), task.attempts.get("is_over"))
    return read == (task.run_count, task.ended_at is not None)


def spans(states: Iterable[StateRecord]) -> list[list[str | None]]:
    """Return start and end of each time in which the task ran, oldest first; the last one may not have ended."""
    ordered = list(states)
    found: list[list[str | None]] = [
        [one.timestamp.isoformat(), later.timestamp.isoformat()]
        for one, later in pairwise(ordered)
        if one.type == "RUNNING"
    ]
    found += [[last.timestamp.isoformat(), None] for last in ordered[-1:] if last.type == "RUNNING"]
    return found[-MOST_ATTEMPTS:]
