"""Whether a run may start now, and if not, when: change windows and freezes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from cronsim import CronSim
from django.utils import timezone
from django.utils.formats import date_format

from flows.access import Target, matches
from runs.models import Freeze, Window

MINUTE = timedelta(minutes=1)
# How far a way out of closed windows is looked for, and in how many steps.
FURTHEST, MOST_STEPS = timedelta(days=400), 400


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether runs may start, why not as a sentence, and from when they may; `opens_at` is None when nobody can say."""

    is_open: bool
    sentence: str = ""
    opens_at: datetime | None = None

    def __bool__(self) -> bool:
        return self.is_open


@dataclass(frozen=True, slots=True)
class Calendar:
    """The windows and freezes about one deployment."""

    windows: tuple[Window, ...]
    freezes: tuple[Freeze, ...]

    @classmethod
    def of(cls, target: Target) -> Calendar:
        active = Window.objects.filter(is_active=True).select_related("environment")
        frozen = Freeze.objects.filter(environment=target.environment, lifted_at=None)
        return cls(tuple(each for each in active if matches(each, target)), tuple(frozen))

    def at(self, moment: datetime) -> Standing:
        """Whether a run may start at a moment, which is aware."""
        why = self.why_closed(moment)
        if why is None:
            return Standing(True)
        sentence, change = why
        opens, steps = change, 0
        while opens is not None and (closed := self.why_closed(opens)) is not None:
            steps += 1
            opens = closed[1] if steps < MOST_STEPS else None
            if opens is not None and opens > moment + FURTHEST:
                opens = None
        return Standing(False, f"{sentence} {until(opens)}", opens)

    def why_closed(self, moment: datetime) -> tuple[str, datetime | None] | None:
        """The sentence, and when that reason ends; None when runs may start."""
        for freeze in self.freezes:
            if freeze.until is None or moment < freeze.until:
                return f"{freeze.environment} is frozen by {freeze.begun_by_name}: {freeze.reason}.", freeze.until
        for window in self.windows:
            if window.effect == Window.Effect.DENY and is_within(window, moment):
                return f"No run may start during “{window}”.", end(window, moment)
        allowing = [window for window in self.windows if window.effect == Window.Effect.ALLOW]
        if allowing and not any(is_within(window, moment) for window in allowing):
            names = " or ".join(f"“{window}”" for window in allowing)
            begins = [start for window in allowing if (start := next_start(window, moment))]
            return f"Runs may start only during {names}.", min(begins, default=None)
        return None


def until(opens_at: datetime | None) -> str:
    if opens_at is None:
        return "Nobody can say yet when it may start."
    return f"It may start from {date_format(timezone.localtime(opens_at), 'j M Y, H:i e')}."


def standing(target: Target, at: datetime | None = None) -> Standing:
    """Whether a run of this may start at a moment, by default now."""
    return Calendar.of(target).at(at or timezone.now())


def last_start(window: Window, moment: datetime) -> datetime | None:
    """When it last began, at `moment` or before; by the clocks of the window's own time zone."""
    minute = moment.astimezone(UTC).replace(second=0, microsecond=0) + MINUTE
    return next(CronSim(window.cron, minute.astimezone(ZoneInfo(window.time_zone)), reverse=True), None)


def next_start(window: Window, moment: datetime) -> datetime | None:
    """When it begins next, after `moment`."""
    return next(CronSim(window.cron, moment.astimezone(ZoneInfo(window.time_zone))), None)


def lasts(window: Window, start: datetime) -> datetime:
    """When one that began then ends: so many minutes later as they pass, whatever the clocks are put to."""
    return start.astimezone(UTC) + timedelta(minutes=window.minutes)


def is_within(window: Window, moment: datetime) -> bool:
    start = last_start(window, moment)
    return start is not None and moment < lasts(window, start)


def end(window: Window, moment: datetime) -> datetime | None:
    """When the window that is open at `moment` ends; one that begins before the last has ended prolongs it."""
    for _ in range(MOST_STEPS):
        start = last_start(window, moment)
        if start is None or lasts(window, start) <= moment:
            return moment
        moment = lasts(window, start)
    return None
