"""Asking for runs and cancels by name, and waiting for their end."""

from __future__ import annotations

import json
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
from flows.prefect_api.records import JSON, PrefectError
from runs import mirror, requests
from runs.actors import Actor
from runs.desk.queries import deployment, environment, run, user
from runs.errors import Refused
from runs.models import Cancellation, RunRequest
from runs.models.request import State

# The states that can still change; every other state is final.
OPEN: dict[type[Model], frozenset[str]] = {
    RunRequest: frozenset({State.WAITING, State.APPROVED, State.LAUNCHING, State.LAUNCHED}),
    Cancellation: frozenset(Cancellation.OPEN),
}
# A message in one of these is what Prefect said, or that it said nothing.
NOT_SENT: dict[type[Model], frozenset[str]] = {
    RunRequest: frozenset({State.APPROVED, State.LAUNCHING}),
    Cancellation: frozenset({Cancellation.State.WANTED}),
}
LOOK_EVERY = 0.5


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
) -> RunRequest:
    """Ask for a run; the same `key` again gives the same request, however often it is sent."""
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
    )


def cancel(
    reference: str, environment_name: str = "", *, by: Actor, reason: str = "", ticket: str = "", force: bool = False
) -> Cancellation:
    """Ask for a run to be stopped; `force` gives up on one whose cancel was sent and came to nothing."""
    verb = requests.force_cancel if force else requests.cancel
    return verb(run(reference, environment_name, by=by), by=by, reason=reason, ticket=ticket)


def wait[Action: (RunRequest, Cancellation)](action: Action, *, seconds: float) -> Action:
    """Look until it is over, and give it back as it is then.

    When the time is up: `StillRunning`, or `PrefectError` when Prefect has not taken it yet.
    """
    deadline = time.monotonic() + seconds
    while True:
        action.refresh_from_db()
        if action.state not in OPEN[type(action)]:
            return action
        if time.monotonic() >= deadline:
            message = action.message or f"It is “{action.get_state_display()}”."
            said = f"{action} is not over after {seconds:g} s. {message}"
            raise (
                PrefectError(said)
                if action.message and action.state in NOT_SENT[type(action)]
                else StillRunning("wait.timeout", said)
            )
        time.sleep(min(LOOK_EVERY, max(deadline - time.monotonic(), 0)))


def sync(name: str, *, by: Actor | None = None) -> Sync:
    """Read an environment's deployments and runs from Prefect now."""
    place = environment(name, by=by)
    found = healths.check(place)
    if found.state != Health.State.UP:
        raise PrefectError(found.message)
    result = catalog_sync.sync(place)
    mirror.sync(place)
    return result


def typed(place: Deployment, texts: Mapping[str, str], given: Mapping[str, JSON]) -> dict[str, JSON]:
    """Values that came as text: kept as text where the schema takes text, read as JSON where it does not."""
    values: dict[str, JSON] = {**given, **texts}
    try:
        parameters.validate(place.parameter_schema, values, defaults=place.parameter_defaults)
    except parameters.Invalid as invalid:
        for name in {str(error.path[0]) for error in invalid.errors if error.path} & texts.keys():
            try:
                values[name] = json.loads(texts[name])
            except ValueError:
                continue
    return values
