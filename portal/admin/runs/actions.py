"""The buttons of a run that stop it or ask for it again: who has them, and what they ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from portal.admin.run_form import rerun
from portal.ui import times
from runs import requests
from runs.access.decisions import Permissions, Target
from runs.governance.requirements import requirements_for
from runs.models import Cancellation, Run, RunRequest, Verb


def cancelling(run: Run, permissions: Permissions, cancellations: Iterable[Cancellation]) -> dict[str, Any]:
    """Whether it may be cancelled, or forced where a cancel did not work, and what must be said with that."""
    if run.is_terminal or run.deleted_upstream_at:
        return {"may_cancel": False, "may_force": False}
    target = Target.of_run(run)
    wanted = next((each for each in cancellations if each.state in Cancellation.OPEN), None)
    may_cancel = wanted is None and permissions.decide(Verb.CANCEL, target).allowed
    may_force = wanted is not None and not wanted.is_forced and permissions.decide(Verb.FORCE_CANCEL, target).allowed
    return {
        "may_cancel": may_cancel,
        "may_force": may_force,
        "wait_to_force": patience_left(wanted) if wanted and may_force else "",
        "cancel_rules": requirements_for(target) if may_cancel or may_force else None,
    }


def patience_left(wanted: Cancellation) -> str:
    """How long the cancel may still take before it may be forced, or an empty string."""
    left = (wanted.requested_at + requests.PATIENCE - timezone.now()).total_seconds()
    return times.span(left + 1) if left > 0 else ""


def again(run: Run, run_request: RunRequest | None, permissions: Permissions) -> str:
    """The address of the form that asks for it again, or an empty string."""
    if run_request and run.deployment:
        return rerun.address(run_request, run.deployment, permissions)
    return rerun.address_like(run, permissions)
