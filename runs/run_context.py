"""Read what can delay a run, for the sentence that explains it."""

from __future__ import annotations

from datetime import datetime

from flows.models import Health, WorkPool
from runs.diagnosis import Context
from runs.models import Run

# Prefect counts a run against concurrency limits from the moment a worker picks it up.
OCCUPYING = ("PENDING", "RUNNING", "CANCELLING")


def context_of(run: Run, now: datetime) -> Context:
    """Read what can delay the run; for a finished run nothing can, so there is no query."""
    if run.is_over:
        return Context(now)
    pool = WorkPool.current.filter(environment=run.environment_id, name=run.work_pool_name).first()
    occupying = Run.objects.filter(
        environment=run.environment_id, state_type__in=OCCUPYING, deleted_upstream_at=None
    ).exclude(pk=run.pk)
    is_limited = run.deployment is not None and run.deployment.concurrency_limit is not None
    health: Health | None = getattr(run.environment.server, "health", None)
    is_down = health is not None and health.state in (Health.State.DOWN, Health.State.REFUSED)
    return Context(
        now,
        pool,
        # Counted only where a limit makes the number matter.
        busy=occupying.filter(work_pool_name=run.work_pool_name).count() if pool and pool.concurrency_limit else 0,
        siblings=occupying.filter(deployment=run.deployment_id).count() if is_limited else 0,
        down=health.message if health and is_down else "",
    )
