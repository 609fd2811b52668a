"""State transitions of run requests: the table of legal ones, and the only function that makes them."""

from __future__ import annotations

from typing import Any

from django.utils import timezone

from flows.db_text import sanitize
from runs.change_feed import publish
from runs.errors import Refused
from runs.models import RunRequest
from runs.models.request import State

# New state -> the states it can follow; anything else is refused.
# LAUNCHING can go back to APPROVED when it is certain that nothing was sent, never to WITHDRAWN or EXPIRED: Prefect may
# have the run. LAUNCHED can follow an ended state, because Prefect retries a run under the same id. A lost run can
# reappear in Prefect, such as after a restore, in any state.
LEGAL_FROM: dict[State, frozenset[State]] = {
    State.APPROVED: frozenset({State.WAITING, State.LAUNCHING}),
    State.LAUNCHING: frozenset({State.APPROVED, State.LAUNCHING}),
    State.LAUNCHED: frozenset({State.LAUNCHING, State.COMPLETED, State.FAILED, State.CANCELLED, State.LOST}),
    State.COMPLETED: frozenset({State.LAUNCHED, State.LOST}),
    State.FAILED: frozenset({State.LAUNCHED, State.LOST}),
    State.CANCELLED: frozenset({State.LAUNCHED, State.LOST}),
    State.LOST: frozenset({State.LAUNCHED}),
    State.REJECTED: frozenset({State.WAITING}),
    State.WITHDRAWN: frozenset({State.WAITING, State.APPROVED}),
    State.EXPIRED: frozenset({State.WAITING}),
    State.REFUSED: frozenset({State.APPROVED, State.LAUNCHING}),
}


def move(run_request: RunRequest, *, to: State, message: str = "", **columns: Any) -> None:
    """Set the state if it is still one that `to` can follow, with other `columns`; raise `Refused` if it is not.

    One UPDATE compares and sets, so of two concurrent moves only one succeeds. The object gets the new values, and is
    not read again: its relations stay loaded.
    """
    values = {"state": to, "message": sanitize(message), "changed_at": timezone.now(), **columns}
    if not RunRequest.objects.filter(pk=run_request.pk, state__in=LEGAL_FROM[to]).update(**values):
        # The refusal names the state that the other move left.
        run_request.refresh_from_db()
        raise too_late(run_request, to)
    for name, value in values.items():
        setattr(run_request, name, value)
    publish("request", [run_request.pk])


def too_late(run_request: RunRequest, to: State) -> Refused:
    """Return the refusal of an illegal move; it names the current state."""
    return Refused(
        "state.illegal",
        (
            f"Request {run_request.pk} is “{run_request.get_state_display()}” and can no longer become “{to.label}”. "
            "Reload the page to see what happened."
        ),
        state=run_request.state,
        to=to.value,
    )
