"""Waits for the end of a request or an action, by reading it again."""

from __future__ import annotations

import time

from django.db.models import Model

from flows.prefect_api.records import PrefectError
from runs.errors import Refused
from runs.models import Action, RunRequest
from runs.models.action import OPEN as OPEN_ACTION
from runs.models.action import State as ActionState
from runs.models.request import State

# The states that can still change; every other state is final.
OPEN: dict[type[Model], frozenset[str]] = {
    RunRequest: frozenset({State.HELD, State.APPROVED, State.LAUNCHING, State.LAUNCHED}),
    Action: frozenset(OPEN_ACTION),
}
# In these states a message is an error from Prefect, or says that it did not respond.
NOT_SENT: dict[type[Model], frozenset[str]] = {
    RunRequest: frozenset({State.APPROVED, State.LAUNCHING}),
    Action: frozenset({ActionState.WANTED}),
}
# Seconds between two reads while waiting.
POLL_SECONDS = 0.5


class StillRunning(Refused):
    """The request or action did not finish within the given time."""


def wait[Row: (RunRequest, Action)](row: Row, *, seconds: float) -> Row:
    """Wait until the request or action is final, and return it.

    After `seconds`, raises `StillRunning`, or `PrefectError` when Prefect has not accepted it yet.
    """
    # Monotonic: the clock of the machine may be set while it waits.
    deadline = time.monotonic() + seconds
    while True:
        row.refresh_from_db()
        if row.state not in OPEN[type(row)]:
            return row
        # At least one read, so that 0 seconds asks for the current state.
        if time.monotonic() >= deadline:
            message = row.message or f"State: {row.state_label}."
            sentence = f"{row} did not finish within {seconds:g} s. {message}"
            raise (
                PrefectError(sentence)
                if row.message and row.state in NOT_SENT[type(row)]
                else StillRunning("wait.timeout", sentence)
            )
        time.sleep(min(POLL_SECONDS, max(deadline - time.monotonic(), 0)))
