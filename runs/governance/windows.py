"""Whether a run may start now, and if not, when: change windows and freezes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import islice, takewhile
from zoneinfo import ZoneInfo

from cronsim import CronSim
from django.utils import timezone
from django.utils.formats import date_format

from runs.access.decisions import Target, matches
from runs.models import Freeze, Window

MINUTE = timedelta(minutes=1)
DAY, DAY_MINUTES = timedelta(days=1), 24 * 60
# A time such as 29 February may be eight years away.
MOST_DAYS = 9 * 366
# How far a way out of closed windows is looked for, and in how many steps.
FURTHEST, MOST_STEPS = timedelta(days=400), 400
# From a moment until another, which is not in it any more.
Span = tuple[datetime, datetime]


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

    def open_spans(self, since: datetime, until: datetime) -> list[Span]:
        """When runs may start between two moments."""
        by_effect: dict[str, list[Span]] = {effect: [] for effect in Window.Effect.values}
        for window in self.windows:
            by_effect[window.effect] += spans(window, since, until)
        binds = any(window.effect == Window.Effect.ALLOW for window in self.windows)
        allowed = joined(by_effect[Window.Effect.ALLOW]) if binds else [(since, until)]
        frozen = [(since, freeze.until or until) for freeze in self.freezes if not freeze.until or freeze.until > since]
        return without(allowed, joined([*by_effect[Window.Effect.DENY], *frozen]))


def until(opens_at: datetime | None) -> str:
    if opens_at is None:
        return "Nobody can say yet when it may start."
    return f"It may start from {date_format(timezone.localtime(opens_at), 'j M Y, H:i e')}."


def standing(target: Target, at: datetime | None = None) -> Standing:
    """Whether a run of this may start at a moment, by default now."""
    return Calendar.of(target).at(at or timezone.now())


@lru_cache(maxsize=256)
def parsed(cron: str) -> CronSim:
    """Its fields; what they mean where clocks are put forward or back is said here, not there."""
    return CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))


@lru_cache(maxsize=1024)
def starts_on(cron: str, time_zone: str, day: date) -> tuple[datetime, ...]:
    """When it begins on one day of a time zone, in order.

    As cron does: a fixed time that the clocks leave out counts when they go on, and one that comes twice counts the
    first time. What comes every hour or every few minutes comes as time passes.
    """
    fields, zone = parsed(cron), ZoneInfo(time_zone)
    if day.month not in fields.months or not fields.match_day(day):
        return ()
    minute, hour, *_ = cron.split()
    is_fixed = not minute.startswith("*") and not hour.startswith("*")
    found: set[datetime] = set()
    for here in (datetime.combine(day, time(hour, minute)) for hour in fields.hours for minute in fields.minutes):
        passes = [here.replace(tzinfo=zone, fold=fold) for fold in (0, 1)]
        real = [each.astimezone(UTC) for each in passes if exists_locally(each)]
        found.update(real[:1] if is_fixed else real)
        if is_fixed and not real:
            found.add(skip_clock_change(here, zone))
    return tuple(sorted(found))


def exists_locally(moment: datetime) -> bool:
    """Whether a clock ever shows this: it comes back from UTC as it went there."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)


def skip_clock_change(here: datetime, zone: ZoneInfo) -> datetime:
    while not exists_locally(here.replace(tzinfo=zone)):
        here += MINUTE
    return here.replace(tzinfo=zone).astimezone(UTC)


def days(window: Window, moment: datetime, number: int) -> Iterator[date]:
    """So many days from the one that a moment is in; backwards when the number is below 0."""
    first = moment.astimezone(ZoneInfo(window.time_zone)).date()
    return (first + timedelta(days=offset) for offset in range(0, number, 1 if number > 0 else -1))


def starts(window: Window, after: datetime) -> Iterator[datetime]:
    """When it begins, after a moment, in order."""
    last = after
    for day in days(window, after - DAY, MOST_DAYS):
        for start in starts_on(window.cron, window.time_zone, day):
            if start > last:
                last = start
                yield start


def next_start(window: Window, moment: datetime) -> datetime | None:
    return next(starts(window, moment), None)


def next_starts(window: Window, moment: datetime, number: int) -> list[datetime]:
    return list(islice(starts(window, moment), number))


def last_start(window: Window, moment: datetime) -> datetime | None:
    """When it last began, at `moment` or before, as far as that can matter: it may be open since then."""
    for day in days(window, moment, -(window.minutes // DAY_MINUTES + 2)):
        found = starts_on(window.cron, window.time_zone, day)
        if position := bisect_right(found, moment):
            return found[position - 1]
    return None


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


def hours(window: Window, moment: datetime) -> tuple[bool, datetime | None]:
    """Whether it is open, and when that changes."""
    is_open = is_within(window, moment)
    return is_open, end(window, moment) if is_open else next_start(window, moment)


def spans(window: Window, since: datetime, until: datetime) -> list[Span]:
    """When it is open between two moments, in order."""
    begins = takewhile(lambda start: start < until, starts(window, since - timedelta(minutes=window.minutes)))
    return joined((max(start, since), min(lasts(window, start), until)) for start in begins)


def without(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """What is left of some spans when others are taken away; both in order."""
    left = list(one)
    for start, close in other:
        left = [
            piece
            for begin, finish in left
            for piece in ((begin, min(finish, start)), (max(begin, close), finish))
            if piece[0] < piece[1]
        ]
    return left


def joined(pieces: Iterable[Span]) -> list[Span]:
    """Spans in any order as the ones they make together."""
    found: list[Span] = []
    for start, close in sorted(pieces):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(close, found[-1][1]))
        else:
            found.append((start, close))
    return found
