"""A cron expression in plain words: all of it, or nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice

import pytest
from cronsim import CronSim, CronSimError
from hypothesis import given
from hypothesis import strategies as st

from flows.cron_text import DAYS, describe


@pytest.mark.parametrize(
    ("cron", "words"),
    [
        ("0 22 * * 1-5", "at 22:00, Monday to Friday"),
        ("0 22 * * MON-FRI", "at 22:00, Monday to Friday"),
        ("0 6 * * 6", "at 06:00 on Saturdays"),
        ("0 0 * * 0,6", "at 00:00 on Saturdays and Sundays"),
        ("0 6 * * 5-7", "at 06:00, Friday to Sunday"),
        ("0 6 * * 0-7", "at 06:00 every day"),
        ("0 0 L * *", "at 00:00 on the last day of each month"),
        ("0 9 LW * *", "at 09:00 on the last weekday of each month"),
        ("0 9 * * 1#1", "at 09:00 on the first Monday of each month"),
        ("0 9 * 1,3 5L", "at 09:00 on the last Friday of January and March"),
        ("0 6 1,15 * *", "at 06:00 on days 1 and 15 of each month"),
        ("0 6 29 2 *", "at 06:00 on day 29 of February"),
        ("0 6 * 6-8 *", "at 06:00 every day in June to August"),
        ("0 6 1 * 1", "at 06:00 on day 1 of each month or on Mondays"),
        ("0 9 1 3,6 1", "at 09:00 on day 1 or on Mondays, in March and June"),
        ("* * * * *", "every minute"),
        ("*/15 * * * *", "every 15 minutes"),
        ("*/15 8-17 * * 1-5", "every 15 minutes from 08:00 to 17:45, Monday to Friday"),
        ("0 * * * *", "every hour"),
        ("5 * * * *", "at minute 5 of every hour"),
        ("0 */6 * * *", "at 00:00, 06:00, 12:00 and 18:00 every day"),
        ("10 */2 * * *", "every 2 hours from 00:10"),
        # With a step beside a weekday both have to match, and steps that do not come out even have no short reading.
        ("0 6 */2 * 1", ""),
        ("*/7 * * * *", ""),
        ("every night", ""),
        ("0 25 * * *", ""),
        ("0 6 * *", ""),
        ("0 0 6 * * *", ""),
        ("", ""),
    ],
)
def test_what_is_typed_is_read_back(cron: str, words: str) -> None:
    assert describe(cron) == words


BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001  (cron expressions are about local clocks)
FIELDS = st.tuples(
    st.sampled_from(["*", "0", "30", "*/10", "5,35", "*/7"]),
    st.sampled_from(["*", "0", "6,18", "8-17", "*/4", "22"]),
    st.sampled_from(["*", "1", "1-7", "15,L", "L", "*/2"]),
    st.sampled_from(["*", "2", "6-8", "1,7"]),
    st.sampled_from(["*", "1-5", "0", "7", "1,3", "1#2", "5L", "0-6"]),
)


@given(FIELDS, FIELDS)
def test_two_that_are_read_alike_are_due_alike(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    words = describe(" ".join(one))
    if not words or words != describe(" ".join(other)):
        return
    starts = [list(islice(CronSim(" ".join(each), BEGIN), 200)) for each in (one, other)]
    assert starts[0] == starts[1]


@given(FIELDS)
def test_a_weekday_that_is_named_alone_is_the_day_of_every_start(fields: tuple[str, ...]) -> None:
    words = describe(" ".join(fields))
    try:
        starts = list(islice(CronSim(" ".join(fields), BEGIN), 20))
    except CronSimError:
        assert words == ""
        return
    named = [number for number, day in enumerate(DAYS) if f"on {day}s" in words]
    if len(named) == 1 and " or " not in words and " and " not in words:
        assert {(start + timedelta(days=1)).weekday() for start in starts} == {named[0]}
