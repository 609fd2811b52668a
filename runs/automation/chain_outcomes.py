"""Where a step of a chain is, from the state of its latest attempt."""

from __future__ import annotations

from runs.automation.chain_definition import Step
from runs.automation.chain_graph import Outcome
from runs.changes.gates import attempt_of
from runs.models import RunRequest
from runs.models.request import State

OUTCOMES: dict[str, Outcome] = {
    **dict.fromkeys([State.HELD, State.APPROVED, State.LAUNCHING, State.LAUNCHED], Outcome.RUNNING),
    State.COMPLETED: Outcome.COMPLETED,
    **dict.fromkeys([State.FAILED, State.CANCELLED, State.LOST, State.REFUSED], Outcome.FAILED),
    **dict.fromkeys([State.REJECTED, State.WITHDRAWN, State.EXPIRED], Outcome.FAILED),
}


def outcome_of(step: Step, run_request: RunRequest) -> Outcome:
    return Outcome.RUNNING if will_start_again(step, run_request) else OUTCOMES[run_request.state]


def will_start_again(step: Step, run_request: RunRequest) -> bool:
    """Return whether a run that failed starts again: as often as its step says, or because a person resumed it.

    Not by itself one that a person cancelled or rejected.
    """
    is_own = run_request.state == State.FAILED and attempt_of(run_request) <= step.retries
    is_resumed = run_request.failure_accepted_at is not None and OUTCOMES[run_request.state] == Outcome.FAILED
    return is_own or is_resumed
