"""When a schedule is due: the next times of a cron expression, an interval or a recurrence rule in a time zone.

Pure, and the same times as Prefect plans for the same rule (`tests/runs/automation/test_schedule_times.py`). Cron and
recurrence rules are about local clocks. A time that comes twice is due the first time. One that the clocks skip is due
as much later as they skip by a cron expression, and as much earlier by a recurrence rule, as in Prefect. An interval
below a day is elapsed time; one of whole days keeps its local time.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from dateutil.rrule import rrule, rrulestr

from flows.cron_text import CRON_PARTS
from flows.local_time import zone_names
from runs.errors import Refused

DAY = timedelta(days=1)
SHORTEST = timedelta(minutes=1)
LONGEST_TEXT = 500
# No letters but names: what L, W, # and ? mean differs between cron libraries.
CRON_FIELD = re.compile(r"^(\*|[0-9]+|[A-Za-z]{3})([-,/0-9]|\*|(?<=[-,])[A-Za-z]{3})*$")
UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": DAY,
}
INTERVAL = re.compile(r"^([0-9]{1,7})\s*([smhd])$")
# Where Prefect starts to count when a rule has no DTSTART.
FIRST_DAY = datetime(2020, 1, 1)  # noqa: DTZ001  (local time of the rule's zone)
PARTS = {
    "FREQ",
    "INTERVAL",
    "COUNT",
    "UNTIL",
    "BYMONTH",
    "BYMONTHDAY",
    "BYDAY",
    "BYHOUR",
    "BYMINUTE",
    "BYSETPOS",
    "WKST",
}
# Frequency -> the parts that it cannot have. A search for a date that never comes would go on to the year 9999.
FREQUENCIES: dict[str, set[str]] = {
    "DAILY": {"BYMONTH", "BYMONTHDAY", "BYSETPOS"},
    "WEEKLY": {"BYMONTH", "BYMONTHDAY", "BYSETPOS"},
    "MONTHLY": set(),
    "YEARLY": set(),
}
# Starts of a recurrence rule on one day, and in all if it is counted: each search goes through them.
MOST_A_DAY, MOST_COUNTED = 24, 10_000


class RuleType(StrEnum):
    CRON = "cron"
    INTERVAL = "interval"
    RRULE = "rrule"


@dataclass(frozen=True, slots=True)
class Rule:
    """When something is due. `anchor` is where an interval starts to count; None for the other types."""

    type: RuleType
    text: str
    time_zone: str = "UTC"
    anchor: datetime | None = None

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.time_zone)


# Checks ---------------------------------------------------------------------------------------------------------------


def checked(kind: str, text: str, time_zone: str, *, anchor: datetime | None, now: datetime) -> Rule:
    """Return the rule in the form in which it is stored; raises `Refused` with a code `schedule.…`.

    An interval without an anchor counts from midnight of `FIRST_DAY`, so 6h is due at 0, 6, 12 and 18 o'clock.
    """
    if time_zone not in zone_names():
        raise Refused("schedule.time_zone", f"Unknown time zone {time_zone}. Use a name such as Europe/Vienna.")
    if kind not in list(RuleType):
        raise Refused("schedule.rule_type", f"“{kind}” is not a type of rule: use cron, interval or rrule.")
    text = " ".join(text.split()) if kind == RuleType.CRON else text.strip()
    if not text or len(text) > LONGEST_TEXT:
        raise Refused("schedule.rule", f"A rule has 1 to {LONGEST_TEXT} characters.", limit=LONGEST_TEXT)
    if kind == RuleType.INTERVAL:
        text = text.lower().replace(" ", "")
        length(text)
        # Not now: the same form sent twice has to be the same schedule.
        anchor = (anchor or FIRST_DAY.replace(tzinfo=ZoneInfo(time_zone))).astimezone(UTC)
        found = Rule(RuleType.INTERVAL, text, time_zone, anchor)
    else:
        found = Rule(RuleType(kind), text, time_zone)
        CHECKS[found.type](text)
    if next(times(found, now), None) is None:
        raise Refused("schedule.never", f"“{text}” has no start after now.")
    return found


def length(text: str) -> timedelta:
    """Return the length of an interval such as 15m, 6h or 1d."""
    match = INTERVAL.match(text)
    found = int(match[1]) * UNITS[match[2]] if match else timedelta()
    # Prefect plans a mixed one, such as 36 hours, from where it happens to begin: no two readings agree.
    if found < SHORTEST or (found > DAY and found % DAY):
        raise Refused(
            "schedule.interval",
            f"“{text}” is not an interval: use 1m or more, up to 24h, or whole days, such as 15m, 6h or 7d.",
        )
    return found


def check_cron(text: str) -> None:
    fields = text.split(" ")
    if len(fields) != CRON_PARTS or not all(CRON_FIELD.match(field) for field in fields):
        raise Refused(
            "schedule.cron",
            f"“{text}” is not a cron expression: minute hour day month weekday, of numbers, names and * , - /.",
        )
    day, weekday = fields[2], fields[4]
    # cron and Prefect differ on such a pair: the one requires both, the other one of them.
    if weekday != "*" and day != "*" and "*" in day + weekday:
        raise Refused(
            "schedule.cron", f"“{text}” has a step for the day beside a weekday. Give days as numbers, or one of them."
        )
    try:
        next(CronSim(text, FIRST_DAY))
    except (CronSimError, StopIteration) as error:
        raise Refused("schedule.cron", f"“{text}” is not a cron expression that ever matches a date.") from error


def check_rrule(text: str) -> None:
    parts = rrule_parts(text)[1]
    frequency = parts.get("FREQ", "")
    if frequency not in FREQUENCIES:
        raise Refused(
            "schedule.rrule",
            "A recurrence rule is DAILY, WEEKLY, MONTHLY or YEARLY. For more often use cron or an interval.",
        )
    excluded = sorted((parts.keys() - PARTS) | (parts.keys() & FREQUENCIES[frequency]))
    if parts.get("INTERVAL", "1") != "1" and frequency == "DAILY" and "BYDAY" in parts:
        excluded.append("BYDAY")
    if excluded:
        raise Refused("schedule.rrule", f"A rule with FREQ={frequency} cannot have {', '.join(excluded)} here.")
    if not re.fullmatch(r"[1-9][0-9]{0,3}", parts.get("INTERVAL", "1")):
        raise Refused("schedule.rrule", "INTERVAL is a number from 1 to 9999.")
    number = (parts.get("BYHOUR", "").count(",") + 1) * (parts.get("BYMINUTE", "").count(",") + 1)
    if number > MOST_A_DAY or int(parts.get("COUNT", "0")) > MOST_COUNTED:
        raise Refused(
            "schedule.rrule",
            f"A recurrence rule has at most {MOST_A_DAY} starts a day, and COUNT={MOST_COUNTED}.",
        )
    parsed_rrule(text)


CHECKS = {RuleType.CRON: check_cron, RuleType.RRULE: check_rrule}


def rrule_parts(text: str) -> tuple[datetime, dict[str, str]]:
    """Return the local DTSTART and the parts of the one rule in a text; raises `Refused`."""
    first, rules = FIRST_DAY, []
    for line in text.upper().split():
        if line.startswith("DTSTART:"):
            try:
                first = datetime.strptime(line.removeprefix("DTSTART:"), "%Y%m%dT%H%M%S")  # noqa: DTZ007
            except ValueError as error:
                raise Refused(
                    "schedule.rrule",
                    "DTSTART is a local time without a zone, such as DTSTART:20260101T060000.",
                ) from error
        else:
            rules.append(line.removeprefix("RRULE:"))
    pairs = [part.partition("=") for rule in rules for part in rule.split(";") if part]
    parts = {name: value for name, _, value in pairs}
    if len(rules) != 1 or len(parts) != len(pairs) or not re.fullmatch(r"[0-9]{0,6}", parts.get("COUNT", "")):
        raise Refused(
            "schedule.rrule",
            "Give one recurrence rule, such as FREQ=MONTHLY;BYDAY=1MO;BYHOUR=6, with a DTSTART or without.",
        )
    return first, parts


@lru_cache(maxsize=512)
def parsed_rrule(text: str) -> tuple[rrule, dict[str, str], datetime]:
    first, parts = rrule_parts(text)
    try:
        found = rrulestr(";".join(f"{name}={value}" for name, value in parts.items()), dtstart=first)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise Refused("schedule.rrule", f"“{text}” is not a recurrence rule: {error}.") from error
    if not isinstance(found, rrule):
        raise Refused("schedule.rrule", "Give one recurrence rule, without other dates.")
    return found, parts, first


# Times ----------------------------------------------------------------------------------------------------------------


def times(rule: Rule, after: datetime) -> Iterator[datetime]:
    """Yield the due times after a moment, in order, in UTC."""
    if rule.type == RuleType.INTERVAL:
        return interval_times(rule, after)
    return local_times(rule, after)


def next_time(rule: Rule, after: datetime) -> datetime | None:
    return next(times(rule, after), None)


def next_times(rule: Rule, after: datetime, number: int) -> list[datetime]:
    return list(islice(times(rule, after), number))


def interval_times(rule: Rule, after: datetime) -> Iterator[datetime]:
    step, anchor = length(rule.text), rule.anchor or after
    if step < DAY:
        number = max((after - anchor) // step + 1, 0)
        while True:
            yield (anchor + number * step).astimezone(UTC)
            number += 1
    # From the anchor, one by one: a time that the clocks skip changes the hour of all that follow.
    here = anchor.astimezone(rule.zone)
    while True:
        if (found := here.astimezone(UTC)) > after:
            yield found
        wall = (here + step).replace(tzinfo=None)
        here = instant(wall, rule.zone).astimezone(rule.zone)


def local_times(rule: Rule, after: datetime) -> Iterator[datetime]:
    """Yield the instants of local times; those that were moved by a clock change are put in order."""
    zone, waiting, last = rule.zone, list[datetime](), after
    # A recurrence rule is read ahead, because a skipped time is due before others that precede it.
    is_cron = rule.type == RuleType.CRON
    ahead = timedelta() if is_cron else DAY
    # Before a clock change later local times can be due earlier: begin far enough back to find them all.
    is_near_change = (after - DAY).astimezone(zone).utcoffset() != (after + DAY).astimezone(zone).utcoffset()
    begin = (after - (DAY if is_near_change else timedelta())).astimezone(zone).replace(tzinfo=None)
    for wall in walls(rule, begin - timedelta(seconds=1)):
        found = instant(wall, zone)
        is_skipped = found.astimezone(zone).replace(tzinfo=None) != wall
        heapq.heappush(waiting, found if is_cron or not is_skipped else instant(wall, zone, fold=1))
        if is_skipped:
            continue
        while waiting and waiting[0] <= found - ahead:
            earliest = heapq.heappop(waiting)
            if earliest > last:
                last = earliest
                yield earliest
    for each in sorted(waiting):
        if each > last:
            last = each
            yield each


def instant(wall: datetime, zone: ZoneInfo, *, fold: int = 0) -> datetime:
    """Return the moment of a local time: the first of two; one that is skipped is as much later as the clocks skip.

    With `fold=1` it is the second of two, and as much earlier.
    """
    return wall.replace(tzinfo=zone, fold=fold).astimezone(UTC)


def walls(rule: Rule, after: datetime) -> Iterator[datetime]:
    """Yield local times after a local time."""
    if rule.type == RuleType.CRON:
        return iter(CronSim(rule.text, after))
    found, parts, first = parsed_rrule(rule.text)
    unit = {"DAILY": DAY, "WEEKLY": 7 * DAY}.get(parts["FREQ"])
    # As if it began later, in the same rhythm: it would go through all its starts since 2020.
    if unit and "COUNT" not in parts:
        step = int(parts.get("INTERVAL", "1")) * unit
        found = found.replace(dtstart=first + max((after - first) // step - 1, 0) * step)
    return iter(found.xafter(after))
