"""When an email may be sent: quiet hours and digests, over clock changes too."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.notifications.email_times import Digest, EmailTimes, due_at, is_quiet

VIENNA = ZoneInfo("Europe/Vienna")
NIGHT = {"quiet_from": time(22), "quiet_until": time(7)}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("chosen", "now", "due"),
    [
        ({}, "2026-01-10 12:00", None),
        (NIGHT, "2026-01-10 12:00", None),
        (NIGHT, "2026-01-10 21:00", "2026-01-11 06:00"),
        (NIGHT, "2026-01-11 05:59", "2026-01-11 06:00"),
        (NIGHT, "2026-01-11 06:00", None),
        ({"quiet_from": time(12), "quiet_until": time(13)}, "2026-07-01 10:30", "2026-07-01 11:00"),
        ({"quiet_from": time(9), "quiet_until": time(9)}, "2026-01-10 08:30", None),
        ({"quiet_from": time(9)}, "2026-01-10 08:30", None),
        ({"digest": Digest.HOURLY}, "2026-01-10 12:10", "2026-01-10 13:00"),
        ({"digest": Digest.HOURLY}, "2026-01-10 12:00", "2026-01-10 13:00"),
        ({"digest": Digest.HOURLY, **NIGHT}, "2026-01-10 20:30", "2026-01-11 06:00"),
        ({"digest": Digest.DAILY, "digest_hour": 8}, "2026-01-10 06:59", "2026-01-10 07:00"),
        ({"digest": Digest.DAILY, "digest_hour": 8}, "2026-01-10 07:00", "2026-01-11 07:00"),
        ({"digest": Digest.DAILY, "digest_hour": 3, **NIGHT}, "2026-01-10 12:00", "2026-01-11 06:00"),
        # 29 March: 02:00 to 03:00 is left out. A night in summer time ends an hour earlier.
        (NIGHT, "2026-03-28 23:00", "2026-03-29 05:00"),
        ({"digest": Digest.DAILY, "digest_hour": 2}, "2026-03-28 12:00", "2026-03-29 01:00"),
        ({"quiet_from": time(1), "quiet_until": time(2, 30)}, "2026-03-29 00:30", "2026-03-29 01:30"),
        # 25 October: 02:00 to 03:00 comes twice. A digest is sent once, and quiet hours end with each.
        ({"digest": Digest.DAILY, "digest_hour": 2}, "2026-10-24 12:00", "2026-10-25 00:00"),
        ({"digest": Digest.DAILY, "digest_hour": 2}, "2026-10-25 00:30", "2026-10-26 01:00"),
        ({"quiet_from": time(1), "quiet_until": time(2, 30)}, "2026-10-25 00:10", "2026-10-25 00:30"),
        ({"quiet_from": time(1), "quiet_until": time(2, 30)}, "2026-10-25 01:10", "2026-10-25 01:30"),
    ],
)
def test_when_it_is_due(chosen: dict[str, Any], now: str, due: str | None) -> None:
    found = due_at(at(now), EmailTimes(VIENNA, **chosen), is_urgent=False)
    assert found == (at(due) if due else None)


def test_what_is_urgent_is_sent_at_once_unless_the_person_says_otherwise() -> None:
    night = at("2026-01-10 23:00")
    assert due_at(night, EmailTimes(VIENNA, **NIGHT), is_urgent=True) is None
    assert due_at(night, EmailTimes(VIENNA, **NIGHT, urgent_at_once=False), is_urgent=True) == at("2026-01-11 06:00")


@given(
    # Hypothesis wants the bounds without a zone.
    now=st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31), timezones=st.just(UTC)),  # noqa: DTZ001
    zone=st.sampled_from(["Europe/Vienna", "Australia/Lord_Howe", "Asia/Kathmandu", "America/St_Johns", "UTC"]),
    quiet=st.tuples(st.times(), st.times()),
    digest=st.sampled_from(Digest),
    hour=st.integers(0, 23),
)
def test_nothing_is_sent_in_quiet_hours_or_later_than_two_days(
    now: datetime, zone: str, quiet: tuple[time, time], digest: Digest, hour: int
) -> None:
    chosen = EmailTimes(ZoneInfo(zone), *quiet, digest, hour)
    found = due_at(now, chosen, is_urgent=False)
    if found is None:
        assert digest == Digest.NONE
        assert not is_quiet(now, chosen)
    else:
        assert 0 < (found - now).total_seconds() <= 50 * 3600
        # Quiet hours that end within the gap of spring end after it.
        until = datetime.combine(found.astimezone(ZoneInfo(zone)).date(), quiet[1], ZoneInfo(zone))
        is_in_gap = until.astimezone(UTC).astimezone(ZoneInfo(zone)).time() != quiet[1]
        assert not is_quiet(found, chosen) or is_in_gap
