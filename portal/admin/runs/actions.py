"""Context of the buttons that cancel, force-cancel and re-run a run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from portal.admin.run_form import rerun, tickets
from portal.ui import times
from runs import requests
from runs.access.decisions import Permissions, Target
from runs.governance.requirements import requirements_for
from runs.models import Cancellation, Run, RunRequest, Verb


def cancelling(run: Run, permissions: Permissions, cancellations: Iterable[Cancellation]) -> dict[str, Any]:
    """Decide whether the run can be cancelled, or force-cancelled after a cancellation that did not work.

    Also returns what a cancellation must come with: `cancel_rules`, and a hint for the ticket field.
    """
    if run.is_over:
        return {"may_cancel": False, "may_force": False}
    target = Target.of_run(run)
    pending = next((each for each in cancellations if each.state in Cancellation.OPEN), None)
    may_cancel = pending is None and permissions.decide(Verb.CANCEL, target).allowed
    # Force only what has been cancelled before: Prefect overwrites a forced state if the process is still running.
    may_force = pending is not None and not pending.is_forced and permissions.decide(Verb.FORCE_CANCEL, target).allowed
    requirements = requirements_for(target) if may_cancel or may_force else None
    return {
        "may_cancel": may_cancel,
        "may_force": may_force,
        "wait_to_force": remaining_wait(pending) if pending and may_force else "",
        "cancel_rules": requirements,
        "ticket_hint": tickets.describe(requirements.ticket_patterns) if requirements else "",
    }


def remaining_wait(cancellation: Cancellation) -> str:
    """Return how long a cancellation must still be waited for before it can be forced, or an empty string."""
    left = (cancellation.requested_at + requests.PATIENCE - timezone.now()).total_seconds()
    # Rounded up: at "0 s" the service would still refuse.
    return times.span(left + 1) if left > 0 else ""


def rerun_url(run: Run, run_request: RunRequest | None, permissions: Permissions) -> str:
    """Return the URL of the prefilled run form, or an empty string without permission."""
    if run_request and run.deployment:
        return rerun.form_url(run_request, run.deployment, permissions)
    return rerun.form_url_like(run, permissions)
