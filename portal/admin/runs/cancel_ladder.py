"""What the page of a run says about its cancellation: the steps to come, or an alarm when Prefect gave up waiting."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flows.models import WorkPool
from runs import cancel_steps, requests
from runs.access.decisions import Permissions, Target
from runs.models import Action, Run, Verb
from runs.models.action import OPEN


def context(run: Run, permissions: Permissions, run_actions: Sequence[Action], pool: WorkPool | None) -> dict[str, Any]:
    """Return `cancel_steps` while a cancellation is open, and `cancel_alarm` when it timed out."""
    cancellation = cancel_steps.latest(list(run_actions))
    if cancel_steps.timed_out(run, cancellation):
        return {"cancel_alarm": cancel_steps.alarm(run)}
    if cancellation is None or cancellation.state not in OPEN or run.is_over:
        return {}
    may_force = permissions.decide(Verb.FORCE_CANCEL, Target.of_run(run)).allowed
    return {
        "cancel_steps": cancel_steps.steps(run, cancellation, pool, patience=requests.PATIENCE, may_force=may_force)
    }
