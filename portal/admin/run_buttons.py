"""The buttons of a run that stop it or ask for it again: who has them, and what they ask."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.utils import timezone

from flows.access import Holding
from flows.models import Verb
from portal import times
from portal.admin import run_again
from runs import lifecycle
from runs.models import Cancellation, Run, RunRequest
from runs.rules import rules_for


def cancelling(run: Run, mine: Holding, cancellations: Iterable[Cancellation]) -> dict[str, Any]:
    """Whether it may be cancelled, or forced where a cancel did not work, and what must be said with that."""
    if run.is_terminal or run.gone_at:
        return {"may_cancel": False, "may_force": False}
    target = lifecycle.target_of(run)
    wanted = next((each for each in cancellations if each.state in Cancellation.OPEN), None)
    may_cancel = wanted is None and mine.decide(Verb.CANCEL, target).allowed
    may_force = wanted is not None and not wanted.is_forced and mine.decide(Verb.FORCE_CANCEL, target).allowed
    return {
        "may_cancel": may_cancel,
        "may_force": may_force,
        "wait_to_force": patience_left(wanted) if wanted and may_force else "",
        "cancel_rules": rules_for(target) if may_cancel or may_force else None,
    }


def patience_left(wanted: Cancellation) -> str:
    """How long the cancel may still take before it may be forced, or an empty string."""
    left = (wanted.asked_at + lifecycle.PATIENCE - timezone.now()).total_seconds()
    return times.span(left + 1) if left > 0 else ""


def again(run: Run, run_request: RunRequest | None, mine: Holding) -> str:
    """The address of the form that asks for it again, or an empty string."""
    if run_request and run.deployment:
        return run_again.address(run_request, run.deployment, mine)
    return run_again.address_like(run, mine)
