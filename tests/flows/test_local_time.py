"""Local times around changes of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import local_time


@pytest.fixture(autouse=True)
def vienna(settings: Any) -> None:
    settings.TIME_ZONE = "Europe/Vienna"


@pytest.mark.parametrize(
    ("typed", "moment"),
    [
        ("2027-03-28T01:59", datetime(2027, 3, 28, 0, 59, tzinfo=UTC)),
        ("2027-03-28 03:00", datetime(2027, 3, 28, 1, tzinfo=UTC)),
        ("2027-10-31T02:30+02:00", datetime(2027, 10, 31, 0, 30, tzinfo=UTC)),
        ("2027-10-31T02:30+01:00", datetime(2027, 10, 31, 1, 30, tzinfo=UTC)),
        ("2027-10-31T03:00", datetime(2027, 10, 31, 2, tzinfo=UTC)),
        (" 2027-01-10T10:00Z ", datetime(2027, 1, 10, 10, tzinfo=UTC)),
    ],
)
def test_a_time_that_exists_once_is_read(typed: str, moment: datetime) -> None:
    assert local_time.read(typed) == moment


@pytest.mark.parametrize("typed", ["2027-03-28T02:00", "2027-03-28T02:30", "2027-03-28T02:59:59"])
def test_a_time_that_is_skipped_is_refused(typed: str) -> None:
    with pytest.raises(local_time.Skipped):
        local_time.read(typed)


@pytest.mark.parametrize("typed", ["2027-10-31T02:00", "2027-10-31T02:30", "2027-10-31T02:59:59"])
def test_a_time_that_comes_twice_is_refused_and_both_offsets_are_named(typed: str) -> None:
    with pytest.raises(local_time.Repeated) as refused:
        local_time.read(typed)
    assert "+02:00" in str(refused.value)
    assert "+01:00" in str(refused.value)


@pytest.mark.parametrize(
    "typed", ["", "soon", "2026-02-30T00:00", "nul\0", "0001-01-01T00:00", "9999-12-31T23:59-12:00", "٢٠٢٧"]
)
def test_anything_else_is_no_time(typed: str) -> None:
    with pytest.raises(local_time.NotATime) as refused:
        local_time.read(typed)
    assert refused.value.code == "time.format"


@given(st.datetimes(datetime(2026, 1, 1), datetime(2028, 1, 1)))  # noqa: DTZ001  (made aware below)
def test_what_is_spelled_is_read_as_the_same_minute(naive: datetime) -> None:
    moment = naive.replace(tzinfo=UTC, second=0, microsecond=0)
    assert local_time.read(local_time.spell(moment)) == moment


def test_a_zone_without_changes_has_no_such_times(settings: Any) -> None:
    settings.TIME_ZONE = "UTC"
    for day in (datetime(2027, 3, 28, 2, 30), datetime(2027, 10, 31, 2, 30)):  # noqa: DTZ001  (as typed)
        assert local_time.localize(day).utcoffset() == timedelta(0)
