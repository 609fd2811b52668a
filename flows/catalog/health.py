"""The health of servers, and when they were last synced. The only code that writes `Health`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from flows.encryption import DecryptionError
from flows.models import Environment, Health, Server
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError, Unauthorized, Unreachable
from flows.shared_servers import keys_of, read_together, reading_of

# The columns of the first reading of all runs, while there is none.
NO_HISTORY: dict[str, Any] = {
    "history_begun_at": None,
    "history_position": None,
    "history_runs": 0,
    "history_recent_at": None,
}


def health_of(server: Server) -> Health:
    """Return the health row, created if missing."""
    return Health.objects.get_or_create(server=server)[0]


def check(server: Server) -> Health:
    """Get the server's version with the credential, and record the result. Raises nothing."""
    try:
        version = connect.client_for(server).health().version
    except (PrefectError, DecryptionError) as error:
        # Any other answer means down as well: whatever responds there is not a Prefect API.
        # A credential that cannot be decrypted is fixed in the same place as one that Prefect refuses.
        state = Health.State.REFUSED if isinstance(error, Unauthorized | DecryptionError) else Health.State.DOWN
        return record(server, state, str(error))
    # A server can answer this and fail on every list: then it is up, and says what it fails on.
    found = health_of(server)
    failures = filter(None, [found.deployments_failure, found.runs_failure])
    return record(server, Health.State.UP, " ".join(failures), version=version)


def record_error(server: Server, error: PrefectError | DecryptionError) -> Health:
    """Record why a call failed. A server that rejects one request is still up."""
    if isinstance(error, Unauthorized | DecryptionError):
        return record(server, Health.State.REFUSED, str(error))
    if isinstance(error, Unreachable):
        return record(server, Health.State.DOWN, str(error))
    # NotFound, Rejected and Uncertain leave the state alone: the next periodic `check` decides it.
    record_failed_sync(server, str(error))
    return health_of(server)


def record(server: Server, state: Health.State, message: str, **columns: Any) -> Health:
    """Write the state and the time of the check; `changed_at` moves only when the state changes."""
    now = timezone.now()
    health = health_of(server)
    if health.state != state:
        columns["changed_at"] = now
    # update() and not save(): the follower and the sync write other columns of the row at the same time.
    Health.objects.filter(pk=health.pk).update(state=state, message=message, checked_at=now, **columns)
    health.refresh_from_db()
    return health


def record_failed_sync(server: Server, message: str) -> None:
    """Record why the catalog could not be synced."""
    health_of(server)
    Health.objects.filter(server=server).update(sync_message=message)


def record_sync(environments: Sequence[Environment], message: str, *, at: datetime, is_whole: bool = True) -> None:
    """Record the result of a catalog sync into environments; `at` is when it read everything, or what changed.

    When none of these was on the server before, the runs of those that were say nothing about them.
    """
    server, keys = environments[0].server, keys_of(environments)
    # Who sees one environment must not learn how many deployments others on the server have.
    is_shared = any(each.is_scoped for each in environments)
    columns: dict[str, Any] = {
        "sync_message": "" if is_shared else message,
        "synced_at": at,
        "synced_from": reading_of(environments),
        "synced_for": keys,
    }
    if is_whole:
        columns["listed_at"] = at
    found = health_of(server)
    if not set(keys) & set(found.synced_for):
        columns |= {"runs_synced_at": None, **NO_HISTORY}
    elif found.runs_synced_at is None and set(keys) - set(found.synced_for):
        # A first reading begins again with the environments that it is for.
        columns |= NO_HISTORY
    Health.objects.filter(server=server).update(deployments_failure="", **columns)
    clear_message(server)


def note_runs_synced(environment: Environment, at: datetime) -> None:
    """Record when all runs were last read into an environment, unless another has taken the server over meanwhile."""
    server = environment.server
    health_of(server)
    own(environment).update(synced_for=keys_together(environment), runs_synced_at=at, runs_failure="", **NO_HISTORY)
    clear_message(server)


def first_reading(environment: Environment, now: datetime) -> Health:
    """Return the row with the position of the first reading of all runs, which begins now if it has not begun."""
    health_of(environment.server)
    begins = {"history_begun_at": now, "history_position": now, "history_runs": 0, "history_recent_at": now}
    own(environment).filter(history_begun_at=None).update(synced_for=keys_together(environment), **begins)
    return health_of(environment.server)


def note_recent(environment: Environment, at: datetime) -> None:
    """Record when active runs, and those that ended since the first reading began, were last read."""
    own(environment).filter(history_begun_at__isnull=False).update(history_recent_at=at)


def note_history(environment: Environment, position: datetime, runs: int) -> bool:
    """Move the position of the first reading back to this time; `runs` were read since the position before.

    Returns whether there still is a first reading of this environment.
    """
    reading = own(environment).filter(history_position__gte=position)
    return bool(reading.update(history_position=position, history_runs=F("history_runs") + runs))


def own(environment: Environment) -> QuerySet[Health]:
    """Return the row of the server, unless another environment has taken the server over meanwhile."""
    is_own = Q(synced_for__contains=[environment.pk]) | Q(synced_for=[])
    return Health.objects.filter(is_own, server=environment.server)


def keys_together(environment: Environment) -> list[int]:
    return keys_of(read_together(environment))


def clear_message(server: Server) -> None:
    """Remove the message of a server that is up and whose lists can all be read again."""
    Health.objects.filter(server=server, state=Health.State.UP, runs_failure="", deployments_failure="").update(
        message=""
    )


def record_failed_reading(server: Server, error: PrefectError | DecryptionError, column: str) -> None:
    """Record why deployments or runs could not be read, in `deployments_failure` or `runs_failure`.

    A later check that finds the server up keeps the sentence, until they are read again.
    """
    record_error(server, error)
    Health.objects.filter(server=server).update(**{column: str(error), "message": str(error)})


def record_automations(environment: Environment, at: datetime, failure: str) -> None:
    """Record when the automations were read into an environment, or why they could not be."""
    health_of(environment.server)
    columns: dict[str, Any] = {"automations_failure": failure} | ({} if failure else {"automations_synced_at": at})
    Health.objects.filter(server=environment.server).update(**columns)


def record_limits(environment: Environment, at: datetime | None, failure: str) -> None:
    """Record when the concurrency limits were read into an environment, or why they could not be."""
    health_of(environment.server)
    columns: dict[str, Any] = {"limits_failure": failure} | ({} if failure else {"limits_synced_at": at})
    Health.objects.filter(server=environment.server).update(**columns)


def is_synced(environment: Environment) -> bool:
    """Return whether the catalog was synced into this environment with this address and credential.

    Only then is the server known to be no other environment's.
    """
    found = health_of(environment.server)
    return environment.pk in found.synced_for and found.synced_from == reading_of(read_together(environment))


def runs_synced_at(environment: Environment) -> datetime | None:
    """Return when all runs were last read into this environment, None if they never were."""
    found = health_of(environment.server)
    return found.runs_synced_at if environment.pk in found.synced_for else None


def record_followed(server: Server, at: datetime) -> None:
    """Record a heartbeat of the follower of this server."""
    health_of(server)
    Health.objects.filter(server=server).update(followed_at=at)
