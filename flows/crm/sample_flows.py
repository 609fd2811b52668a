"""Flows without data: a long one, to watch and cancel, and one that ends at once."""

import time
from datetime import UTC, datetime
from typing import Annotated, cast
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import Field

TICK = 1.0  # seconds between two lines of log


class Stopped(Exception):
    """The failure requested by `fail_at`."""


@task(name="wait", task_run_name="step {step} of {steps}", cache_policy=NO_CACHE)
def wait(step: int, steps: int, seconds: float, fail_at: int, bar: UUID) -> None:
    """Sleep for the step's share of the time, and report the overall progress."""
    logger = get_run_logger()
    started = time.monotonic()
    passed = 0.0
    while passed < seconds:
        time.sleep(min(TICK, seconds - passed))
        passed = min(time.monotonic() - started, seconds)
        percent = 100 * (step - 1 + passed / seconds) / steps
        logger.info("Step %d of %d, %.0f%% done.", step, steps, percent)
        update_progress_artifact(bar, progress=percent)
        # After the progress was published, so that it stays at the percentage of the failure.
        if fail_at and percent >= fail_at:
            raise Stopped(f"Stopped at {percent:.0f}% because fail_at is {fail_at}.")


@flow(name="long-haul")
def long_haul(
    minutes: Annotated[float, Field(gt=0, le=60)] = 2.0,
    fail_at: Annotated[int, Field(ge=0, le=100)] = 0,
    steps: Annotated[int, Field(ge=1, le=20)] = 4,
) -> str:
    """Run for some minutes and report progress: a run to watch, to cancel, or to see fail.

    Args:
        minutes: Total duration in minutes.
        fail_at: Percentage at which it fails; 0 = never.
        steps: Number of tasks, run one after another.
    """
    bar = cast(UUID, create_progress_artifact(progress=0.0, key="long-haul", description="Progress"))
    get_run_logger().info("Running for %g minutes in %d steps.", minutes, steps)
    for step in range(1, steps + 1):
        wait(step, steps, minutes * 60 / steps, fail_at, bar)
    return f"Took {minutes:g} minutes."


@flow(name="heartbeat")
def heartbeat() -> str:
    """Log the time and end: the shortest possible run."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    get_run_logger().info("It is %s.", now)
    return now
