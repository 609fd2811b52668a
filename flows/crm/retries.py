"""Retries: a disk or a network share may recover a moment later, bad data never does."""

from typing import Any, TypedDict

from prefect import Task
from prefect.client.schemas.objects import State, TaskRun


class Retries(TypedDict):
    retries: int
    retry_delay_seconds: float
    retry_condition_fn: Any


def is_disk_trouble(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Return whether a task failed with an OSError. Prefect passes all three arguments by position."""
    return isinstance(state.result(raise_on_failure=False), OSError)


DISK = Retries(retries=2, retry_delay_seconds=2, retry_condition_fn=is_disk_trouble)
