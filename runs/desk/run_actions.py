"""Request runs and cancellations by name, and wait for their end."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime

from django.db.models import Model

from flows import parameters
from flows.catalog import health as healths
from flows.catalog import sync as catalog_sync
from flows.catalog.sync import Sync
from flows.models import Deployment, Health
from flows.parameters.references import from_arguments
from flows.prefect_api.records import JSON, PrefectError
from runs import definitions, mirror, requests
from runs.actors import Actor
from runs.desk.queries import run
from runs.errors import Refused
from runs.models import Action, RunRequest
from runs.models.action import OPEN as OPEN_ACTION
from runs.models.action import Kind
from runs.models.action import State as ActionState
from runs.models.request import State
from runs.names import deployment, environment, user

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
    """The request did not finish within the given time."""


def trigger(
    environment_name: str,
    deployment_name: str,
    values: Mapping[str, JSON],
    *,
    by: Actor,
    reason: str = "",
    tags: Sequence[str] = (),
    run_name: str = "",
    scheduled_for: datetime | None = None,
    key: uuid.UUID | None = None,
    ticket: str = "",
    on_behalf_of: str = "",
    override_window: bool = False,
    retries: int = 0,
    confirm: str = "",
) -> RunRequest:
    """Request a run; the same `key` again returns the same request.

    `retries` are approved together with the run, where it needs an approval. `confirm` is the full name of the
    deployment, for a run that deletes data.
    """
    return requests.submit(
        deployment(environment_name, deployment_name, by=by),
        values,
        by=by,
        reason=reason,
        tags=tags,
        run_name=run_name,
        scheduled_for=scheduled_for,
        submission_key=key,
        ticket=ticket,
        on_behalf_of=user(on_behalf_of) if on_behalf_of else None,
        overrides_windows=override_window,
        retries=retries,
        confirmation=confirm,
    )


def cancel(
    reference: str, environment_name: str = "", *, by: Actor, reason: str = "", ticket: str = "", force: bool = False
) -> Action:
    """Request a cancellation; `force` marks a run as cancelled when an ordinary cancellation had no effect."""
    verb = requests.force_cancel if force else requests.cancel
    return verb(run(reference, environment_name, by=by), by=by, reason=reason, ticket=ticket)


def recover(
    reference: str, kind: Kind, environment_name: str = "", *, by: Actor, reason: str, ticket: str = ""
) -> Action:
    """Request that a stalled run is put back to Scheduled, or marked as failed."""
    verb = requests.put_back if kind == Kind.PUT_BACK else requests.mark_failed
    return verb(run(reference, environment_name, by=by), by=by, reason=reason, ticket=ticket)


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


def sync(name: str, *, by: Actor | None = None) -> Sync:
    """Sync an environment's deployments and runs now; raises `PrefectError`."""
    place = environment(name, by=by)
    found = healths.check(place.server)
    if found.state != Health.State.UP:
        raise PrefectError(found.message)
    result = catalog_sync.sync(place, on_change=definitions.record_changes)
    mirror.sync(place)
    return result


def typed(place: Deployment, texts: Mapping[str, str], given: Mapping[str, JSON]) -> dict[str, JSON]:
    """Return the values of `given`, overridden by texts that are read as a form reads them.

    Raises `Invalid` with every error if one of the texts cannot be read.
    """
    read, unreadable = from_arguments(place.parameter_schema, texts, place.parameter_defaults)
    values: dict[str, JSON] = {**given, **read}
    if unreadable:
        names = {error.path[0] for error in unreadable}
        try:
            parameters.validate(place.parameter_schema, values, defaults=place.parameter_defaults)
        except parameters.Invalid as invalid:
            unreadable += [error for error in invalid.errors if not names.intersection(error.path[:1])]
        raise parameters.Invalid(*unreadable)
    return values
