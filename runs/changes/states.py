"""State transitions: the tables of legal ones, and the only functions that make them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from django.db import connection, models
from django.utils import timezone

from flows.db_text import sanitize
from runs.change_feed import publish
from runs.errors import Refused
from runs.models import ChangeRequest, RunRequest
from runs.models.request import State

ChangeState = ChangeRequest.State

# New state of a run request -> the states it can follow; anything else is refused.
# LAUNCHING can go back to APPROVED when it is certain that nothing was sent, never to WITHDRAWN or EXPIRED: Prefect may
# have the run. LAUNCHED can follow an ended state, because Prefect retries a run under the same id. A lost run can
# reappear in Prefect, such as after a restore, in any state.
LEGAL_FROM: dict[State, frozenset[State]] = {
    State.APPROVED: frozenset({State.HELD, State.LAUNCHING}),
    State.LAUNCHING: frozenset({State.APPROVED, State.LAUNCHING}),
    State.LAUNCHED: frozenset({State.LAUNCHING, State.COMPLETED, State.FAILED, State.CANCELLED, State.LOST}),
    State.COMPLETED: frozenset({State.LAUNCHED, State.LOST}),
    State.FAILED: frozenset({State.LAUNCHED, State.LOST}),
    State.CANCELLED: frozenset({State.LAUNCHED, State.LOST}),
    State.LOST: frozenset({State.LAUNCHED}),
    State.REJECTED: frozenset({State.HELD}),
    State.WITHDRAWN: frozenset({State.HELD, State.APPROVED}),
    State.EXPIRED: frozenset({State.HELD}),
    State.REFUSED: frozenset({State.APPROVED, State.LAUNCHING}),
}
# The same of a change request. It is closed when nothing more of it can start.
CHANGE_LEGAL_FROM: dict[ChangeState, frozenset[ChangeState]] = {
    ChangeState.APPROVED: frozenset({ChangeState.WAITING}),
    ChangeState.REJECTED: frozenset({ChangeState.WAITING}),
    ChangeState.WITHDRAWN: frozenset({ChangeState.WAITING, ChangeState.APPROVED}),
    ChangeState.EXPIRED: frozenset({ChangeState.WAITING}),
    ChangeState.CLOSED: frozenset({ChangeState.APPROVED}),
}
# State that ends a change request -> that of its run requests that have not been sent.
ENDS: dict[ChangeState, State] = {
    ChangeState.REJECTED: State.REJECTED,
    ChangeState.WITHDRAWN: State.WITHDRAWN,
    ChangeState.EXPIRED: State.EXPIRED,
}


# Compares and sets, like `compare_and_set`.
MOVE_EACH = """
    UPDATE runs_runrequest AS request SET state = move.state, message = move.message, changed_at = %s
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[]) AS move (pk, before, state, message)
    WHERE request.id = move.pk AND request.state = move.before
"""


class Move(NamedTuple):
    """One of several moves that are made together."""

    run_request: RunRequest
    to: State
    message: str


def move(run_request: RunRequest, *, to: State, message: str = "", **columns: Any) -> None:
    """Set the state if it is still one that `to` can follow, with other `columns`; raise `Refused` if it is not.

    One UPDATE compares and sets, so of two concurrent moves only one succeeds. The object gets the new values, and is
    not read again: its relations stay loaded.
    """
    if not compare_and_set(run_request, LEGAL_FROM[to], to, message, columns):
        raise too_late(run_request, to)
    publish("request", [run_request.pk])


def move_together(run_requests: Sequence[RunRequest], *, to: State, **columns: Any) -> None:
    """Move run requests whose rows the caller has locked, with the same columns, in one UPDATE; all or none of them."""
    pks = [run_request.pk for run_request in run_requests]
    values = {"state": to, "message": "", "changed_at": timezone.now(), **columns}
    legal = RunRequest.objects.filter(pk__in=pks, state__in=LEGAL_FROM[to])
    if legal.update(attempts=models.F("attempts") + int(to == State.LAUNCHING), **values) != len(pks):
        raise too_late(run_requests[0], to)
    for run_request in run_requests:
        run_request.attempts += int(to == State.LAUNCHING)
        for name, value in values.items():
            setattr(run_request, name, value)
    publish("request", pks)


def move_each(moves: Sequence[Move]) -> None:
    """Make different moves of run requests, whose rows the caller has locked, in one UPDATE; all or none of them."""
    if not moves:
        return
    for each in moves:
        if each.run_request.state not in LEGAL_FROM[each.to]:
            raise too_late(each.run_request, each.to)
    now = timezone.now()
    pks = [each.run_request.pk for each in moves]
    before = [each.run_request.state for each in moves]
    states = [each.to.value for each in moves]
    messages = [sanitize(each.message) for each in moves]
    with connection.cursor() as cursor:
        cursor.execute(MOVE_EACH, [now, pks, before, states, messages])
        if cursor.rowcount != len(moves):
            raise too_late(moves[0].run_request, moves[0].to)
    for each, message in zip(moves, messages, strict=True):
        each.run_request.state, each.run_request.message, each.run_request.changed_at = each.to, message, now
    publish("request", pks)


def move_change(change: ChangeRequest, *, to: ChangeState, message: str = "", **columns: Any) -> None:
    """Set the state of a change request as `move` does that of a run request; end what has not been sent with it."""
    if not compare_and_set(change, CHANGE_LEGAL_FROM[to], to, message, columns):
        raise too_late(change, to)
    if to in ENDS:
        end = ENDS[to]
        unsent = change.run_requests.filter(state__in=LEGAL_FROM[end])
        unsent.update(state=end, message=change.message, changed_at=timezone.now(), next_attempt_at=None)
    publish("request", list(change.run_requests.values_list("pk", flat=True)))


def compare_and_set(
    row: RunRequest | ChangeRequest,
    legal: frozenset[Any],
    to: models.TextChoices,
    message: str,
    columns: dict[str, Any],
) -> bool:
    """Update the row if it is in a legal state, and the object with it; return whether it was."""
    values = {"state": to, "message": sanitize(message), "changed_at": timezone.now(), **columns}
    if not type(row)._default_manager.filter(pk=row.pk, state__in=legal).update(**values):
        # The refusal names the state that the other move left.
        row.refresh_from_db(fields=["state"])
        return False
    for name, value in values.items():
        setattr(row, name, value)
    return True


def too_late(row: RunRequest | ChangeRequest, to: State | ChangeState) -> Refused:
    """Return the refusal of an illegal move; it names the current state."""
    return Refused(
        "state.illegal",
        (
            f"Request {row.pk} is “{row.get_state_display()}” and can no longer become “{to.label}”. "
            "Reload the page to see what happened."
        ),
        state=row.state,
        to=to.value,
    )
