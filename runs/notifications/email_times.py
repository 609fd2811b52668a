"""When an email may be sent: quiet hours and digests, in the zone of its reader. Pure: no database, no clock.

Wall times are turned into moments one day at a time, so that a day with 23 or 25 hours is right: a time that is left
out in spring is the moment after the gap, and of one that comes twice in autumn quiet hours end with each.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

DAY, HOUR = timedelta(days=1), timedelta(hours=1)


class Digest(StrEnum):
    """How often what is not urgent is collected in one email."""

    NONE = ""
    HOURLY = "hourly"
    DAILY = "daily"


@dataclass(frozen=True, slots=True)
class EmailTimes:
    """What a person chose. Quiet hours that begin and end at the same time are none; they may go past midnight."""

    zone: ZoneInfo
    quiet_from: time | None = None
    quiet_until: time | None = None
    digest: Digest = Digest.NONE
    digest_hour: int = 8
    # Whether approvals and overrides are sent at once, whatever the rest says.
    urgent_at_once: bool = True


def due_at(now: datetime, chosen: EmailTimes, *, is_urgent: bool) -> datetime | None:
    """Return when the email of a message of now may be sent; None is at once."""
    if is_urgent and chosen.urgent_at_once:
        return None
    moment = now.astimezone(UTC)
    match chosen.digest:
        case Digest.HOURLY:
            local = moment.astimezone(chosen.zone)
            moment += HOUR - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)
        case Digest.DAILY:
            moment = next_at(moment, time(chosen.digest_hour), chosen.zone, folds=(0,))
    if is_quiet(moment, chosen) and chosen.quiet_until is not None:
        moment = next_at(moment, chosen.quiet_until, chosen.zone, folds=(0, 1))
    return moment if moment > now else None


def is_quiet(moment: datetime, chosen: EmailTimes) -> bool:
    begin, end = chosen.quiet_from, chosen.quiet_until
    if begin is None or end is None or begin == end:
        return False
    wall = moment.astimezone(chosen.zone).time()
    return begin <= wall < end if begin < end else wall >= begin or wall < end


def next_at(moment: datetime, wall: time, zone: ZoneInfo, *, folds: tuple[int, ...]) -> datetime:
    """Return the first moment after this one at which the clocks of the zone show a time.

    `folds` are which of two equal times in autumn count.
    """
    today = moment.astimezone(zone).date()
    found = (
        datetime.combine(today + offset * DAY, wall.replace(fold=fold), zone).astimezone(UTC)
        for offset in (0, 1, 2)
        for fold in folds
    )
    return min(each for each in found if each > moment)
