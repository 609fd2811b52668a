"""How an environment's health is said to people: a label, a colour, a sentence, and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from flows.models import Environment, Health

# Every environment is looked at once a minute; nobody looked for so long means that nobody does.
STALE = timedelta(minutes=4)

# state -> (label, colour, what to do)
LABELS: dict[str, tuple[str, str, str]] = {
    Health.State.UP: ("Up", "green", ""),
    Health.State.DOWN: (
        "Unreachable",
        "red",
        "Is the server running at {api_url}? The address usually ends in /api. "
        "What you see here is what Prefect said last; runs asked for now are sent when it is back.",
    ),
    Health.State.REFUSED: (
        "Wrong credential",
        "red",
        "The server answers, but not to this credential. An administrator can enter it anew on the environment's page.",
    ),
    Health.State.UNKNOWN: (
        "Not checked yet",
        "grey",
        "The first look takes a few seconds. If this stays, the background tasks are not running.",
    ),
}
STALE_SYNC = (
    "Not checked lately",
    "amber",
    "Nobody has looked for {minutes} minutes: the background tasks do not seem to run. Whoever runs the portal can "
    "start them with “manage.py qcluster”.",
)
INACTIVE = ("Switched off", "grey", "It is no longer read, and nothing can be asked for there.")


@dataclass(frozen=True, slots=True)
class EnvironmentStatus:
    """What a page shows of one environment."""

    environment: Environment
    label: str
    colour: str
    message: str
    fix: str
    version: str = ""
    since: datetime | None = None
    checked_at: datetime | None = None
    synced_at: datetime | None = None
    runs_synced_at: datetime | None = None
    sync_message: str = ""

    @property
    def is_fine(self) -> bool:
        return not self.fix

    @property
    def icon(self) -> str:
        return {"red": "cloud_off", "green": "cloud_done"}.get(self.colour, "hourglass_empty")


def status_of(environment: Environment) -> EnvironmentStatus:
    """Read `environment` with `select_related("health")` to ask this for many."""
    health: Health | None = getattr(environment, "health", None)
    label, colour, fix = LABELS[Health.State.UNKNOWN]
    if not environment.is_active:
        label, colour, fix = INACTIVE
    elif health and health.checked_at:
        silent = timezone.now() - health.checked_at
        label, colour, fix = LABELS[health.state] if silent < STALE else STALE_SYNC
        fix = fix.format(api_url=environment.api_url, minutes=int(silent.total_seconds() // 60))
    if health is None:
        return EnvironmentStatus(environment, label, colour, "", fix)
    return EnvironmentStatus(
        environment,
        label,
        colour,
        health.message,
        fix,
        version=health.version,
        since=health.changed_at,
        checked_at=health.checked_at,
        synced_at=health.synced_at,
        runs_synced_at=health.runs_synced_at,
        sync_message=health.sync_message,
    )
