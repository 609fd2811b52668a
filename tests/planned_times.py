"""What Prefect plans in a year, by its own code."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
END = datetime(2027, 1, 1, tzinfo=UTC)


def planned(schedule: CronSchedule | IntervalSchedule | RRuleSchedule) -> list[datetime]:
    """Return what Prefect plans in the year; in pieces, because it stops after a thousand."""
    found: set[datetime] = set()
    start = YEAR
    while start < END:
        end = start + timedelta(days=40)
        # Its type is a union, which hides that each has the generator.
        dates = schedule._get_dates_generator(n=2000, start=start, end=end)
        found |= {each.astimezone(UTC) for each in dates}
        start = end
    return sorted(each for each in found if each < END)
