"""How an environment is: the only code that writes `Health`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from flows.encryption import DecryptionError
from flows.models import Environment, Health
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError, Unauthorized, Unreachable


def health_of(environment: Environment) -> Health:
    """The health row, made when there is none yet."""
    return Health.objects.get_or_create(environment=environment)[0]


def check(environment: Environment) -> Health:
    """Ask the server for its version, with the credential, and note the answer. Raises nothing."""
    try:
        version = connect.client_for(environment).health().version
    except (PrefectError, DecryptionError) as error:
        # Whatever else it answers, it is not the Prefect API that this environment needs.
        state = Health.State.REFUSED if isinstance(error, Unauthorized | DecryptionError) else Health.State.DOWN
        return record(environment, state, str(error))
    return record(environment, Health.State.UP, "", version=version)


def record_error(environment: Environment, error: PrefectError | DecryptionError) -> Health:
    """Note why a call failed. What a server that answers refused to do says nothing about whether it is up."""
    if isinstance(error, Unauthorized | DecryptionError):
        return record(environment, Health.State.REFUSED, str(error))
    if isinstance(error, Unreachable):
        return record(environment, Health.State.DOWN, str(error))
    record_sync(environment, str(error), at=None)
    return health_of(environment)


def record(environment: Environment, state: Health.State, message: str, **columns: Any) -> Health:
    now = timezone.now()
    health = health_of(environment)
    if health.state != state:
        columns["changed_at"] = now
    Health.objects.filter(pk=health.pk).update(state=state, message=message, checked_at=now, **columns)
    health.refresh_from_db()
    return health


def record_sync(environment: Environment, message: str, *, at: datetime | None) -> None:
    """Note what a catalogue sync said; `at` is when it read everything, None when it did not."""
    health_of(environment)
    columns: dict[str, Any] = {"sync_message": message}
    if at:
        columns["synced_at"] = at
    Health.objects.filter(environment=environment).update(**columns)


def note_runs_synced(environment: Environment, at: datetime) -> None:
    health_of(environment)
    Health.objects.filter(environment=environment).update(runs_synced_at=at)


def record_followed(environment: Environment, at: datetime) -> None:
    health_of(environment)
    Health.objects.filter(environment=environment).update(followed_at=at)
