"""How an environment is: the only code that writes `Health`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from flows import connect
from flows.models import Environment, Health
from flows.records import PrefectError, Unauthorized, Unreachable
from flows.vault import Sealed


def of(environment: Environment) -> Health:
    """The health row, made when there is none yet."""
    return Health.objects.get_or_create(environment=environment)[0]


def check(environment: Environment) -> Health:
    """Ask the server for its version, with the credential, and note the answer. Raises nothing."""
    try:
        version = connect.to(environment).health().version
    except (PrefectError, Sealed) as error:
        # Whatever else it answers, it is not the Prefect API that this environment needs.
        state = Health.State.REFUSED if isinstance(error, Unauthorized | Sealed) else Health.State.DOWN
        return note(environment, state, str(error))
    return note(environment, Health.State.UP, "", version=version)


def note_error(environment: Environment, error: PrefectError | Sealed) -> Health:
    """Note why a call failed. What a server that answers refused to do says nothing about whether it is up."""
    if isinstance(error, Unauthorized | Sealed):
        return note(environment, Health.State.REFUSED, str(error))
    if isinstance(error, Unreachable):
        return note(environment, Health.State.DOWN, str(error))
    note_sync(environment, str(error), at=None)
    return of(environment)


def note(environment: Environment, state: Health.State, message: str, **columns: Any) -> Health:
    now = timezone.now()
    health = of(environment)
    if health.state != state:
        columns["changed_at"] = now
    Health.objects.filter(pk=health.pk).update(state=state, message=message, checked_at=now, **columns)
    health.refresh_from_db()
    return health


def note_sync(environment: Environment, message: str, *, at: datetime | None) -> None:
    """Note what a catalogue sync said; `at` is when it read everything, None when it did not."""
    of(environment)
    columns: dict[str, Any] = {"sync_message": message}
    if at:
        columns["synced_at"] = at
    Health.objects.filter(environment=environment).update(**columns)


def note_swept(environment: Environment, at: datetime) -> None:
    of(environment)
    Health.objects.filter(environment=environment).update(swept_at=at)


def note_followed(environment: Environment, at: datetime) -> None:
    of(environment)
    Health.objects.filter(environment=environment).update(followed_at=at)
