"""How old a page is, environment by environment: one that is down must not look like one that is empty."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from django.http import HttpRequest
from django.utils import timezone

from flows.models import Environment
from portal.auth.request_user import permissions_of
from portal.ui.environment_status import EnvironmentStatus, status_of
from runs.governance import freezes
from runs.models import Freeze

# Runs are read every 15 s by the follower and everything every minute: this late, something is wrong.
LATE = timedelta(minutes=4)

Source = Literal["runs", "deployments"]


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a page says about one environment: a line when all is well, else a banner in this tone."""

    environment: Environment
    tone: str
    read_at: datetime | None
    sentence: str = ""
    advice: str = ""
    icon: str = "hourglass_empty"
    freeze: Freeze | None = None

    @property
    def is_trouble(self) -> bool:
        return bool(self.sentence)


def freshness_from(state: EnvironmentStatus, what: Source, now: datetime) -> Freshness:
    environment = state.environment
    read_at = state.runs_synced_at if what == "runs" else state.synced_at
    if not environment.is_active:
        return Freshness(environment, "grey", read_at, f"{environment} is switched off: {state.fix}")
    if state.fix:
        sentence = f"{environment}: {state.label}. {state.message}".rstrip()
        return Freshness(environment, state.colour, read_at, sentence, state.fix, state.icon)
    if read_at is None:
        return Freshness(
            environment,
            "blue",
            None,
            f"The {what} of {environment} have not been read yet.",
            "The first reading takes a few seconds. If this stays, the background tasks are not running.",
        )
    if now - read_at > LATE:
        return Freshness(
            environment,
            "amber",
            read_at,
            f"The {what} of {environment} were not read completely for a while, though the server answers.",
            state.sync_message if what == "deployments" else "Look at the log of the follower and of the tasks.",
        )
    return Freshness(environment, "green", read_at)


def freshness_of(environments: Iterable[Environment], what: Source) -> list[Freshness]:
    """Give environments that were read with `select_related("health")`; one query finds the freezes of all."""
    now, places = timezone.now(), list(environments)
    frozen = current_freezes(places)
    return [replace(freshness_from(status_of(place), what, now), freeze=frozen.get(place.pk)) for place in places]


def current_freezes(environments: Iterable[Environment]) -> dict[int, Freeze]:
    """The freezes that hold now, by environment."""
    return {freeze.environment_id: freeze for freeze in freezes.frozen_now(*environments)}


def freshness_of_all(request: HttpRequest, what: Source) -> list[Freshness]:
    """For a page that lists what the reader may see anywhere."""
    return freshness_of(permissions_of(request).environments().filter(is_active=True).select_related("health"), what)
