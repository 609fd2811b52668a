"""The calendar of schedules, held against Prefect's own planner in the months in which clocks change."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule

from portal.admin.schedules import calendar_page
from runs.models import Schedule
from tests.planned_times import planned


@pytest.mark.parametrize("month", [3, 4, 10, 11])
@pytest.mark.parametrize("of_schedule", ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe"])
def test_the_calendar_has_what_prefect_plans_where_clocks_change(of_schedule: str, month: int) -> None:
    """By the days of the reader, whose clocks change on another day than those of the schedule."""
    reader = ZoneInfo("Europe/Vienna")
    begin, end = datetime(2026, month, 1, tzinfo=reader), datetime(2026, month + 1, 1, tzinfo=reader)
    daily = Schedule(rule_type="cron", rule="30 2 * * *", time_zone=of_schedule, valid_until=end)
    expected = [each for each in planned(CronSchedule(cron=daily.rule, timezone=of_schedule)) if begin <= each < end]
    assert calendar_page.starts_between(daily, begin, end) == expected
