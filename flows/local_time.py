"""Reads times as people type them. A change of the clocks skips some local times and repeats others."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from typing import ClassVar
from zoneinfo import available_timezones

from django.utils import timezone
from django.utils.dateparse import parse_datetime


class NotATime(ValueError):
    """The text is not a date and time that exists; `code` names the cause, `str()` is a sentence."""

    code: ClassVar[str] = "time.format"


class Skipped(NotATime):
    """The clocks were put forward over this time."""

    code = "time.skipped"


class Repeated(NotATime):
    """The clocks were put back, so that this time comes twice."""

    code = "time.repeated"


def read(text: str) -> datetime:
    """Parse an ISO date and time; without an offset it is in the portal's time zone. Raises `NotATime`."""
    try:
        found = parse_datetime(text.strip())
        # Years 1 and 9999 do not exist in UTC, in which times are stored, for every offset.
        moment = found and localize(found)
        if moment and moment.astimezone(UTC):
            return moment
    except (ValueError, OverflowError) as error:
        if isinstance(error, NotATime):
            raise
    raise NotATime("Enter a date and time such as 2026-01-31 14:30, or with an offset, 2026-01-31T14:30+01:00.")


def spell(moment: datetime) -> str:
    """Return a time as `read` understands it: local to the minute, with its offset only where it comes twice."""
    local = timezone.localtime(moment)
    text = local.strftime("%Y-%m-%dT%H:%M")
    return local.isoformat(timespec="minutes") if is_repeated(local) else text


def is_repeated(local: datetime) -> bool:
    """Return whether the clocks show this local time twice."""
    first, second = (local.replace(fold=fold).utcoffset() for fold in (0, 1))
    return first is not None and second is not None and first > second


def localize(given: datetime) -> datetime:
    """Return a time with its offset; one without is in the portal's time zone. Raises `Skipped` or `Repeated`."""
    if timezone.is_aware(given):
        return given
    zone = timezone.get_current_timezone()
    first, second = (given.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    when = f"{given:%-d %b %Y, %H:%M}"
    place = timezone.get_current_timezone_name()
    # Both have two offsets. Where the clocks go back, the first is the larger one (PEP 495).
    if not is_repeated(first):
        raise Skipped(f"{when} does not exist in {place}: the clocks go forward. Choose another time.")
    raise Repeated(
        f"{when} comes twice in {place}: the clocks go back. Choose another time, or write it with its offset, "
        f"{first.isoformat(timespec='minutes')} or {second.isoformat(timespec='minutes')}."
    )


@cache
def zone_names() -> frozenset[str]:
    """Return the names of all time zones; finding them reads hundreds of files."""
    return frozenset(available_timezones())
