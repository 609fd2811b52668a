"""The status of an environment on pages: a label, a colour, a message, and how to fix it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.utils import timezone

from flows.models import Environment, Health, Server

# `runs.periodic` checks every server once a minute. After four missed checks the cluster is down, not slow.
STALE = timedelta(minutes=4)

# state -> (label, colour, how to fix it)
LABELS: dict[str, tuple[str, str, str]] = {
    Health.State.UP: ("Up", "green", ""),
    Health.State.DOWN: (
        "Unreachable",
        "red",
        "Check that the server is running at {api_url}; the address usually ends in /api.",
    ),
    Health.State.REFUSED: (
        "Authentication failed",
        "red",
        "The server rejected the credential. Update the credential on the environment's page (administrators only).",
    ),
    Health.State.UNKNOWN: (
        "Not checked yet",
        "grey",
        "The first check takes a few seconds. If this persists, the background tasks are not running.",
    ),
}
# What else to know of a server that does not answer, once something was read from it and before.
UNREACHABLE_SINCE = "Data is from the last sync. Requested runs start when the server is reachable again."
NEVER_READ = "Nothing has been read from it yet."
# No credential is set, and the server wants one: message and how to fix it.
NO_CREDENTIAL = (
    "The server requires a credential, and none is set.",
    "Set it on the environment's page (administrators only).",
)
OVERDUE = (
    "Check overdue",
    "amber",
    "Last checked {minutes} minutes ago. The background tasks seem to be stopped: start “manage.py qcluster”.",
)
INACTIVE = ("Disabled", "grey", "It is not synced, and no runs can be requested.")


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """What a page shows of one environment."""

    environment: Environment
    state: str  # a value of `Health.State`, "overdue" or "disabled"
    label: str
    colour: str
    message: str
    fix: str
    version: str = ""
    since: datetime | None = None
    checked_at: datetime | None = None
    synced_at: datetime | None = None
    runs_synced_at: datetime | None = None
    followed_at: datetime | None = None
    sync_message: str = ""
    # How far the first reading of all runs is, while it goes on.
    first_reading: str = ""

    @property
    def is_fine(self) -> bool:
        return not self.fix

    @property
    def icon(self) -> str:
        return {"red": "cloud_off", "green": "cloud_done"}.get(self.colour, "hourglass_empty")


def status_of(environment: Environment) -> EnvironmentStatus:
    """Return the status to display; for many environments, load them with `select_related("server__health")`."""
    # 1. The state. A new server has no health row yet: reverse one-to-one raises, which `getattr` catches.
    health: Health | None = getattr(environment.server, "health", None)
    state = str(Health.State.UNKNOWN)
    label, colour, fix = LABELS[state]
    # A disabled environment is not checked any more, so its last health says nothing.
    if not environment.is_active:
        state, (label, colour, fix) = "disabled", INACTIVE
    elif health and health.checked_at:
        age = timezone.now() - health.checked_at
        state = health.state if age < STALE else "overdue"
        label, colour, fix = LABELS.get(state, OVERDUE)
        # 2. The advice, with what it names filled in.
        fix = fix.format(api_url=environment.server.api_url, minutes=int(age.total_seconds() // 60))
    if health is None:
        return EnvironmentStatus(environment, state, label, colour, "", fix)
    # 3. When it was synced, if that was into this environment: another one may have been on the server before.
    is_own = environment.pk in health.synced_for
    message = health.message
    if state == Health.State.REFUSED and environment.server.credential_kind == Server.CredentialKind.NONE:
        message, fix = NO_CREDENTIAL
    elif state == Health.State.DOWN:
        fix = describe_outage(environment, message, fix, was_read=is_own and bool(health.synced_at))
    return EnvironmentStatus(
        environment,
        state,
        label,
        colour,
        message,
        fix,
        version=health.version,
        since=health.changed_at,
        checked_at=health.checked_at,
        synced_at=health.synced_at if is_own else None,
        runs_synced_at=health.runs_synced_at if is_own else None,
        followed_at=health.followed_at,
        sync_message=health.sync_message,
        first_reading=describe_first_reading(health, environment) if is_own else "",
    )


def describe_outage(environment: Environment, message: str, fix: str, *, was_read: bool) -> str:
    """Return what to do, and what the outage means for what is shown; nothing that the message says already."""
    effect = UNREACHABLE_SINCE if was_read else NEVER_READ
    return effect if environment.server.api_url in message else f"{fix} {effect}"


def describe_first_reading(health: Health, environment: Environment) -> str:
    percent = health.history_percent
    if percent is None:
        return ""
    # The runs that were read are those of the whole server.
    if environment.is_scoped:
        return f"{percent}% of the last {settings.HISTORY_DAYS} days"
    return f"{percent}% of the last {settings.HISTORY_DAYS} days, {health.history_runs:,} runs so far"
