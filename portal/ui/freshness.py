"""When the data on a page was last synced, per environment: unreachable must not look like empty."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from django.http import HttpRequest
from django.utils import timezone

from flows.models import Environment
from flows.wording import plural
from portal.auth.request_user import permissions_of
from portal.ui.environment_status import EnvironmentStatus, status_of
from runs.governance import freezes
from runs.models import Freeze

# The follower syncs runs every 15 s and the periodic tasks sync everything every minute. Four missed rounds are no
# coincidence.
LATE = timedelta(minutes=4)
# The follower records a heartbeat every 5 s. Without it the periodic tasks still sync everything every minute.
FOLLOWER_LATE = timedelta(minutes=1)

# What the dot of the header can say, the worst first: kind -> (shape, tone, sentence). Shapes, because not everybody
# tells the colours apart.
DOTS: dict[str, tuple[str, str, str]] = {
    "unreachable": ("square", "red", "Data from Prefect is out of date: Prefect is unreachable."),
    "late": ("triangle", "amber", "Data from Prefect is out of date."),
    "unread": ("ring", "blue", "Data from Prefect is not complete yet."),
    "unfollowed": ("triangle", "amber", "Data from Prefect may be a minute old: the event follower is not running."),
    "disabled": ("ring", "grey", "Not synced: the environment is disabled."),
    "current": ("circle", "green", "Data from Prefect is up to date."),
}
# The codes of `Freshness` that have a kind of another name.
KINDS = {
    "down": "unreachable",
    "refused": "unreachable",
    "overdue": "late",
    "unknown": "unread",
    "never_synced": "unread",
    "first_reading": "unread",
}

Source = Literal["runs", "deployments"]


@dataclass(frozen=True, slots=True)
class Freshness:
    """What a page shows about one environment: a dot while `code` is empty, else a banner in this tone."""

    environment: Environment
    code: str  # "", a state of `EnvironmentStatus`, "never_synced", "first_reading" or "late"
    tone: str
    synced_at: datetime | None
    sentence: str = ""
    advice: str = ""
    icon: str = "hourglass_empty"
    freeze: Freeze | None = None
    is_followed: bool = False

    @property
    def dot(self) -> str:
        """Return the kind of dot that this environment alone would have."""
        if not self.code:
            return "current" if self.is_followed else "unfollowed"
        return KINDS.get(self.code, self.code)

    @property
    def is_trouble(self) -> bool:
        return bool(self.code)


def freshness_from(status: EnvironmentStatus, what: Source, now: datetime) -> Freshness:
    """Return the most severe problem of an environment's data, or none.

    The order matters: data of an unreachable server is late too, but only the first message helps.
    """
    # 1. The server: disabled, unreachable, or not checked.
    environment = status.environment
    synced_at = status.runs_synced_at if what == "runs" else status.synced_at
    if not environment.is_active:
        return Freshness(environment, status.state, "grey", synced_at, f"{environment} is disabled. {status.fix}")
    if status.fix:
        sentence = f"{environment}: {status.label}. {status.message}".rstrip()
        return Freshness(environment, status.state, status.colour, synced_at, sentence, status.fix, status.icon)
    # 2. The sync, which can fail or stop although the server is reachable.
    if synced_at is None and what == "runs" and status.first_reading:
        return Freshness(
            environment,
            "first_reading",
            "blue",
            None,
            f"The runs of {environment} are being read for the first time: {status.first_reading}.",
            "Active runs are complete; earlier runs appear from the newest to the oldest.",
        )
    if synced_at is None:
        return Freshness(
            environment,
            "never_synced",
            "blue",
            None,
            f"The {what} of {environment} are not synced yet.",
            "The first sync takes a few seconds. If this persists, the background tasks are not running.",
        )
    if now - synced_at > LATE:
        return Freshness(
            environment,
            "late",
            "amber",
            synced_at,
            f"The {what} of {environment} are out of date although the server is reachable.",
            status.sync_message if what == "deployments" else "Check the logs of the follower and the tasks.",
        )
    # 3. Fine: the dot alone.
    is_followed = status.followed_at is not None and now - status.followed_at <= FOLLOWER_LATE
    return Freshness(environment, "", "green", synced_at, is_followed=is_followed)


def freshness_of(environments: Iterable[Environment], what: Source) -> list[Freshness]:
    """Return the freshness of environments, loaded with `select_related("server__health")`; freezes are one query."""
    now, places = timezone.now(), list(environments)
    frozen = current_freezes(places)
    return [replace(freshness_from(status_of(place), what, now), freeze=frozen.get(place.pk)) for place in places]


def current_freezes(environments: Iterable[Environment]) -> dict[int, Freeze]:
    """Return the active freezes by environment id."""
    return {freeze.environment_id: freeze for freeze in freezes.frozen_now(*environments)}


def freshness_of_all(request: HttpRequest, what: Source) -> list[Freshness]:
    """Return the freshness of every enabled environment that the reader may see, for lists across environments."""
    return freshness_of(
        permissions_of(request).environments().filter(is_active=True).select_related("server__health"), what
    )


def freshness_in_frame(request: HttpRequest) -> list[Freshness]:
    """Return the freshness of the runs of all that the reader sees, for pages without data of their own."""
    places = permissions_of(request).environments().filter(is_active=True).select_related("server__health")
    return [freshness_of_runs(place) for place in places]


def freshness_of_runs(environment: Environment) -> Freshness:
    """Return the freshness of the runs of one environment, without its freeze; select `server__health` with it."""
    return freshness_from(status_of(environment), "runs", timezone.now())


@dataclass(frozen=True, slots=True)
class Dot:
    """The dot in the header: the worst of the environments, each of which its tooltip names."""

    kind: str  # a key of `DOTS`, empty for no dot
    places: Sequence[Freshness]

    @property
    def shape(self) -> str:
        return DOTS[self.kind][0]

    @property
    def tone(self) -> str:
        return DOTS[self.kind][1]

    @property
    def label(self) -> str:
        return DOTS[self.kind][2]


def dot_of(found: Sequence[Freshness]) -> Dot:
    """Return the dot for these environments; it has no kind where there is none."""
    kinds = {one.dot for one in found}
    return Dot(next((kind for kind in DOTS if kind in kinds), ""), found)


@dataclass(frozen=True, slots=True)
class ListProblems:
    """What a list across environments shows in one line; the rest is on the overview and on their pages.

    `needing` are the names of the environments that are out of order or frozen, with a sentence each.
    """

    needing: list[tuple[str, str]]
    codes: str

    @property
    def label(self) -> str:
        verb = "needs" if len(self.needing) == 1 else "need"
        return f"{plural(len(self.needing), 'environment')} {verb} attention"

    @property
    def details(self) -> str:
        return " ".join(sentence for _, sentence in self.needing)


def problems_in_one_line(found: Sequence[Freshness]) -> ListProblems:
    """Return which environments need attention."""
    needing = [
        (str(one.environment), one.sentence if one.is_trouble else f"{one.environment} is frozen.")
        for one in found
        if one.is_trouble or one.freeze
    ]
    codes = [one.code or "frozen" for one in found if one.is_trouble or one.freeze]
    return ListProblems(needing, " ".join(dict.fromkeys(codes)))
