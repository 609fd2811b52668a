"""Decide whether a run can start now, and if not, when: change windows and freezes.

A window starts by the clock of its own time zone and lasts a number of elapsed minutes. cronsim parses the expressions;
what they mean on days when clocks change is decided here, because its backward iteration misjudges repeated hours.
"""

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

from flows.models import Environment
from runs.access.decisions import Target, matches
from runs.governance.requirements import in_force
from runs.models import Freeze, Window
from runs.shared_reads import shared

MINUTE = timedelta(minutes=1)
DAY, DAY_MINUTES = timedelta(days=1), 24 * 60
# The next 29 February can be eight years away (around 2100).
MOST_DAYS = 9 * 366
# Limits of the search for the next opening. Windows can exclude each other for ever: it must end.
FURTHEST, MOST_STEPS = timedelta(days=400), 400
# As SQL: each submission reads them, and compiling a queryset takes three times as long.
FREEZES = "SELECT * FROM runs_freeze WHERE environment_id = %s AND lifted_at IS NULL"
# Start and end; the end is exclusive.
Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether runs can start; if not, why as a sentence, and when they can: None when that is not known."""

    is_open: bool
    sentence: str = ""
    opens_at: datetime | None = None

    def __bool__(self) -> bool:
        return self.is_open


def freezes_of(environment: Environment) -> tuple[Freeze, ...]:
    """Return the freezes that were not lifted, each with the environment."""
    found = tuple(Freeze.objects.raw(FREEZES, [environment.pk]))
    for each in found:
        each.environment = environment
    return found


@dataclass(frozen=True, slots=True)
class Calendar:
    """The windows and freezes that apply to one deployment."""

    windows: tuple[Window, ...]
    freezes: tuple[Freeze, ...]

    @classmethod
    def of(cls, target: Target) -> Calendar:
        active = [each for each in in_force(Window, target.environment) if each.is_active and matches(each, target)]
        return cls(tuple(active), shared(("freezes", target.environment.pk), lambda: freezes_of(target.environment)))

    def at(self, moment: datetime) -> Standing:
        """Return whether a run can start at a moment, which must be aware."""
        why = self.why_closed(moment)
        if why is None:
            return Standing(True)
        # When one reason ends, another may hold: follow them until none does, or the search goes too far.
        sentence, change = why
        opens, steps = change, 0
        while opens is not None and (closed := self.why_closed(opens)) is not None:
            steps += 1
            opens = closed[1] if steps < MOST_STEPS else None
            if opens is not None and opens > moment + FURTHEST:
                opens = None
        return Standing(False, f"{sentence} {until(opens)}", opens)

    def why_closed(self, moment: datetime) -> tuple[str, datetime | None] | None:
        """Return the reason as a sentence and when it ends; None when runs can start.

        Freezes come first, then windows that block, then windows that allow.
        """
        for freeze in self.freezes:
            if freeze.until is None or moment < freeze.until:
                return f"{freeze.environment} is frozen by {freeze.begun_by_name}: {freeze.reason}.", freeze.until
        for window in self.windows:
            if window.effect == Window.Effect.DENY and is_within(window, moment):
                return f"Runs cannot start during “{window}”.", end(window, moment)
        allowing = [window for window in self.windows if window.effect == Window.Effect.ALLOW]
        if allowing and not any(is_within(window, moment) for window in allowing):
            names = " or ".join(f"“{window}”" for window in allowing)
            begins = [start for window in allowing if (start := next_start(window, moment))]
            return f"Runs can start only during {names}.", min(begins, default=None)
        return None

    def open_spans(self, since: datetime, until: datetime) -> list[Span]:
        """Return when runs can start between two moments, in order."""
        by_effect: dict[str, list[Span]] = {effect: [] for effect in Window.Effect.values}
        for window in self.windows:
            by_effect[window.effect] += spans(window, since, until)
        # Windows that allow bind only where there is one; without any, every time is allowed.
        binds = any(window.effect == Window.Effect.ALLOW for window in self.windows)
        allowed = joined(by_effect[Window.Effect.ALLOW]) if binds else [(since, until)]
        frozen = [(since, freeze.until or until) for freeze in self.freezes if not freeze.until or freeze.until > since]
        return without(allowed, joined([*by_effect[Window.Effect.DENY], *frozen]))


def until(opens_at: datetime | None) -> str:
    """Return the next start time as a sentence."""
    if opens_at is None:
        return "The next start time is not known."
    return f"Next start: {date_format(timezone.localtime(opens_at), 'j M Y, H:i e')}."


def standing(target: Target, at: datetime | None = None) -> Standing:
    """Return whether a run of the target can start at a moment, by default now."""
    return Calendar.of(target).at(at or timezone.now())


@lru_cache(maxsize=256)
def parsed(cron: str) -> CronSim:
    """Return the parsed fields; the date given to cronsim is irrelevant."""
    return CronSim(cron, datetime(2000, 1, 1, tzinfo=UTC))


@lru_cache(maxsize=1024)
def starts_on(cron: str, time_zone: str, day: date) -> tuple[datetime, ...]:
    """Return the starts on one day of a time zone, in UTC and in order.

    As cron does: a fixed time that the clocks skip starts when they go on, and one that comes twice starts the first
    time. Expressions for every hour or every few minutes follow elapsed time instead.
    """
    # 1. Nothing on most days: decide that without computing times.
    fields, zone = parsed(cron), ZoneInfo(time_zone)
    if day.month not in fields.months or not fields.match_day(day):
        return ()
    # 2. Both passes of each local time (fold 0 and 1); one that does not exist locally is dropped.
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
    """Return whether local clocks ever show this time: then it survives the way to UTC and back."""
    return moment.astimezone(UTC).astimezone(moment.tzinfo).replace(tzinfo=None) == moment.replace(tzinfo=None)


def skip_clock_change(here: datetime, zone: ZoneInfo) -> datetime:
    """Return the first existing minute at or after a skipped local time, in UTC."""
    # By the minute: clocks change by half an hour on Lord Howe.
    while not exists_locally(here.replace(tzinfo=zone)):
        here += MINUTE
    return here.replace(tzinfo=zone).astimezone(UTC)


def days(window: Window, moment: datetime, number: int) -> Iterator[date]:
    """Yield days in the window's time zone from the one that contains a moment; backwards when `number` is negative."""
    first = moment.astimezone(ZoneInfo(window.time_zone)).date()
    return (first + timedelta(days=offset) for offset in range(0, number, 1 if number > 0 else -1))


def starts(window: Window, after: datetime) -> Iterator[datetime]:
    """Yield the starts after a moment, in order."""
    last = after
    # From the day before: a start that the clocks skip can move past midnight.
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
    """Return the last start at or before a moment, as far back as the window could still be open."""
    for day in days(window, moment, -(window.minutes // DAY_MINUTES + 2)):
        found = starts_on(window.cron, window.time_zone, day)
        if position := bisect_right(found, moment):
            return found[position - 1]
    return None


def end_of(window: Window, start: datetime) -> datetime:
    """Return when the window that started then ends: elapsed minutes later, unaffected by clock changes."""
    return start.astimezone(UTC) + timedelta(minutes=window.minutes)


def is_within(window: Window, moment: datetime) -> bool:
    start = last_start(window, moment)
    return start is not None and moment < end_of(window, start)


def end(window: Window, moment: datetime) -> datetime | None:
    """Return when the window that is open at `moment` closes; overlapping starts prolong it.

    None when it is always open.
    """
    for _ in range(MOST_STEPS):
        start = last_start(window, moment)
        if start is None or end_of(window, start) <= moment:
            return moment
        moment = end_of(window, start)
    return None


def hours(window: Window, moment: datetime) -> tuple[bool, datetime | None]:
    """Return whether the window is open, and when that changes."""
    is_open = is_within(window, moment)
    return is_open, end(window, moment) if is_open else next_start(window, moment)


def spans(window: Window, since: datetime, until: datetime) -> list[Span]:
    """Return when the window is open between two moments, in order."""
    # A window that opened before `since` may still be open then.
    begins = takewhile(lambda start: start < until, starts(window, since - timedelta(minutes=window.minutes)))
    return joined((max(start, since), min(end_of(window, start), until)) for start in begins)


def without(one: Sequence[Span], other: Sequence[Span]) -> list[Span]:
    """Return `one` without the parts that `other` covers; both in order."""
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
    """Merge overlapping and adjacent spans; in any order, returned in order."""
    found: list[Span] = []
    for start, close in sorted(pieces):
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(close, found[-1][1]))
        else:
            found.append((start, close))
    return found
