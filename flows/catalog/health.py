"""The health of environments. The only code that writes `Health`."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils import timezone

from flows.encryption import DecryptionError
from flows.models import Environment, Health
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError, Unauthorized, Unreachable
from flows.server_identity import connection_of


def health_of(environment: Environment) -> Health:
    """Return the health row, created if missing."""
    return Health.objects.get_or_create(environment=environment)[0]


def check(environment: Environment) -> Health:
    """Get the server's version with the credential, and record the result. Raises nothing."""
    try:
        version = connect.client_for(environment).health().version
    except (PrefectError, DecryptionError) as error:
        # Any other answer means down as well: whatever responds there is not the Prefect API of this environment.
        # A credential that cannot be decrypted is fixed in the same place as one that Prefect refuses.
        state = Health.State.REFUSED if isinstance(error, Unauthorized | DecryptionError) else Health.State.DOWN
        return record(environment, state, str(error))
    # A server can answer this and fail on every list: then it is up, and says what it fails on.
    found = health_of(environment)
    failures = filter(None, [found.deployments_failure, found.runs_failure])
    return record(environment, Health.State.UP, " ".join(failures), version=version)


def record_error(environment: Environment, error: PrefectError | DecryptionError) -> Health:
    """Record why a call failed. A server that rejects one request is still up."""
    if isinstance(error, Unauthorized | DecryptionError):
        return record(environment, Health.State.REFUSED, str(error))
    if isinstance(error, Unreachable):
        return record(environment, Health.State.DOWN, str(error))
    # NotFound, Rejected and Uncertain leave the state alone: the next periodic `check` decides it.
    record_sync(environment, str(error), at=None)
    return health_of(environment)


def record(environment: Environment, state: Health.State, message: str, **columns: Any) -> Health:
    """Write the state and the time of the check; `changed_at` moves only when the state changes."""
    now = timezone.now()
    health = health_of(environment)
    if health.state != state:
        columns["changed_at"] = now
    # update() and not save(): the follower and the sync write other columns of the row at the same time.
    Health.objects.filter(pk=health.pk).update(state=state, message=message, checked_at=now, **columns)
    health.refresh_from_db()
    return health


def record_sync(environment: Environment, message: str, *, at: datetime | None) -> None:
    """Record the result of a catalog sync; `at` is when it read everything, None if it did not."""
    health_of(environment)
    columns: dict[str, Any] = {"sync_message": message}
    if at:
        columns |= {"synced_at": at, "synced_from": connection_of(environment), "deployments_failure": ""}
    Health.objects.filter(environment=environment).update(**columns)
    if at:
        clear_message(environment)


def note_runs_synced(environment: Environment, at: datetime) -> None:
    """Record when all runs were last read."""
    health_of(environment)
    Health.objects.filter(environment=environment).update(runs_synced_at=at, runs_failure="")
    clear_message(environment)


def clear_message(environment: Environment) -> None:
    """Remove the message of a server that is up and whose lists can all be read again."""
    Health.objects.filter(
        environment=environment, state=Health.State.UP, runs_failure="", deployments_failure=""
    ).update(message="")


def record_failed_reading(environment: Environment, error: PrefectError | DecryptionError, column: str) -> None:
    """Record why deployments or runs could not be read, in `deployments_failure` or `runs_failure`.

    A later check that finds the server up keeps the sentence, until they are read again.
    """
    record_error(environment, error)
    Health.objects.filter(environment=environment).update(**{column: str(error), "message": str(error)})


def is_synced(environment: Environment) -> bool:
    """Return whether the catalog was synced with this address and credential.

    Only then is the server known to be no other environment's.
    """
    return health_of(environment).synced_from == connection_of(environment)


def record_followed(environment: Environment, at: datetime) -> None:
    """Record a heartbeat of the event stream."""
    health_of(environment)
    Health.objects.filter(environment=environment).update(followed_at=at)
