"""Due times of schedules, held against Prefect's own planner over a year of clock changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import takewhile
from zoneinfo import ZoneInfo

import pytest
from prefect.server.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from runs.automation import native_checks, schedule_times
from runs.automation.schedule_times import Rule, RuleType, times
from tests.planned_times import END, YEAR, planned
from tests.refusals import refused

# Half an hour on Lord Howe; no clock change in Kolkata; Havana changes at midnight.
ZONES = ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Kolkata"]
CRONS = [
    *("30 2 * * *", "15 1,2,3 * * *", "0 0 1 * *", "59 23 * * 1-5", "30 * * * *"),
    *("10 4 1,15 JAN-JUN MON", "5/20 2 * 3,4,10,11 *", "0 12 * * 7"),
]
INTERVALS = ["90m", "5h", "24h", "1d", "7d"]
RRULES = [
    *("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;BYHOUR=1", "FREQ=MONTHLY;BYDAY=-1FR"),
    *("FREQ=MONTHLY;BYMONTHDAY=-1;BYHOUR=3,2;BYMINUTE=15", "FREQ=DAILY;INTERVAL=3", "FREQ=YEARLY;BYMONTH=3;BYDAY=2SU"),
    "DTSTART:20260105T013000\nRRULE:FREQ=DAILY;COUNT=300",
    "FREQ=WEEKLY;UNTIL=20260601T000000;BYDAY=TU",
    "FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1",
]


def ours(rule: Rule) -> list[datetime]:
    return list(takewhile(lambda each: each < END, times(rule, YEAR - timedelta(microseconds=1))))


@pytest.mark.parametrize("zone", ZONES[:4])
@pytest.mark.parametrize("cron", CRONS)
def test_cron_is_due_when_prefect_plans_it(cron: str, zone: str) -> None:
    assert ours(Rule(RuleType.CRON, cron, zone)) == planned(CronSchedule(cron=cron, timezone=zone))


@pytest.mark.parametrize("zone", ZONES[:3])
@pytest.mark.parametrize("text", INTERVALS)
def test_an_interval_is_due_when_prefect_plans_it(text: str, zone: str) -> None:
    anchor = datetime(2025, 12, 30, 2, 30, tzinfo=ZoneInfo(zone))
    schedule = IntervalSchedule(interval=schedule_times.length(text), anchor_date=anchor, timezone=zone)
    assert ours(Rule(RuleType.INTERVAL, text, zone, anchor.astimezone(UTC))) == planned(schedule)


@pytest.mark.parametrize("zone", ZONES[:3])
@pytest.mark.parametrize("text", RRULES)
def test_a_recurrence_rule_is_due_when_prefect_plans_it(text: str, zone: str) -> None:
    assert ours(Rule(RuleType.RRULE, text, zone)) == planned(RRuleSchedule(rrule=text, timezone=zone))


@pytest.mark.parametrize("zone", ZONES[:3])
@pytest.mark.parametrize(
    ("kind", "text"),
    [(RuleType.CRON, CRONS[0]), (RuleType.INTERVAL, "90m"), (RuleType.INTERVAL, "1d"), (RuleType.RRULE, RRULES[6])],
)
def test_prefect_plans_the_same_from_what_it_is_given_to_keep(kind: RuleType, text: str, zone: str) -> None:
    anchor = datetime(2025, 12, 30, 2, 30, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    rule = Rule(kind, text, zone, anchor if kind == RuleType.INTERVAL else None)
    kinds = {RuleType.CRON: CronSchedule, RuleType.INTERVAL: IntervalSchedule, RuleType.RRULE: RRuleSchedule}
    assert ours(rule) == planned(kinds[kind].model_validate(native_checks.prefect_rule(rule)))


@pytest.mark.parametrize("zone", ZONES[:3])
def test_the_next_ten_starts_before_each_clock_change_are_those_that_prefect_plans(zone: str) -> None:
    schedule = planned(CronSchedule(cron=CRONS[0], timezone=zone))
    for change in ((3, 7), (3, 28), (4, 4), (10, 3), (10, 24), (10, 31)):
        moment = datetime(2026, *change, 12, tzinfo=UTC)
        expected = [each for each in schedule if each > moment][:10]
        assert schedule_times.next_times(Rule(RuleType.CRON, CRONS[0], zone), moment, 10) == expected


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("text", ["30 2 * * *", "*/15 * * * *"])
def test_asking_from_each_due_time_gives_the_same_as_going_on(text: str, zone: str) -> None:
    """The clock asks once for each start: it must neither repeat nor leave out one where clocks change."""
    rule = Rule(RuleType.CRON, text, zone)
    for change in (
        datetime(2026, 3, 8, tzinfo=UTC),
        datetime(2026, 4, 4, tzinfo=UTC),
        datetime(2026, 10, 24, tzinfo=UTC),
    ):
        expected = schedule_times.next_times(rule, change, 200)
        found = [change]
        while len(found) <= 200 and (following := schedule_times.next_time(rule, found[-1])):
            found.append(following)
        assert found[1:] == expected


@pytest.mark.parametrize(
    ("kind", "text", "code"),
    [
        ("cron", "0 6 * *", "schedule.cron"),
        ("cron", "0 6 L * *", "schedule.cron"),
        ("cron", "H 6 * * *", "schedule.cron"),
        ("cron", "@daily", "schedule.cron"),
        ("cron", "0 6 */2 * 1", "schedule.cron"),
        ("cron", "0 25 * * *", "schedule.cron"),
        ("cron", "0 0 31 2 *", "schedule.cron"),
        ("interval", "30s", "schedule.interval"),
        ("interval", "36h", "schedule.interval"),
        ("interval", "P1D", "schedule.interval"),
        ("rrule", "FREQ=HOURLY", "schedule.rrule"),
        ("rrule", "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "schedule.rrule"),
        (
            "rrule",
            f"FREQ=DAILY;BYMINUTE={','.join(map(str, range(25)))}",
            "schedule.rrule",
        ),
        ("rrule", "FREQ=DAILY;COUNT=99999", "schedule.rrule"),
        ("rrule", "FREQ=DAILY;COUNT=x", "schedule.rrule"),
        ("rrule", "FREQ=DAILY;INTERVAL=0", "schedule.rrule"),
        ("rrule", "FREQ=DAILY;INTERVAL=x", "schedule.rrule"),
        ("rrule", "DTSTART:20260101T000000Z FREQ=DAILY", "schedule.rrule"),
        ("rrule", "FREQ=DAILY RDATE:20260101", "schedule.rrule"),
        ("rrule", "FREQ=DAILY;UNTIL=20200601T000000", "schedule.never"),
        ("rrule", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "schedule.never"),
        ("cron", "x" * 600, "schedule.rule"),
        ("", "0 6 * * *", "schedule.rule_type"),
    ],
)
def test_what_is_no_rule_or_never_due_is_refused(kind: str, text: str, code: str) -> None:
    with refused(code):
        schedule_times.checked(kind, text, "Europe/Berlin", anchor=None, now=YEAR)


def test_an_unknown_time_zone_is_refused() -> None:
    with refused("schedule.time_zone"):
        schedule_times.checked("cron", "0 6 * * *", "Mars/Olympus", anchor=None, now=YEAR)
