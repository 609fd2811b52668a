"""When runs can start: change windows in their own time zones, including clock changes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.models import Deployment, Environment
from runs.access.decisions import Target
from runs.governance import windows
from runs.governance.windows import Calendar, Span
from runs.models import Freeze, Window

VIENNA, NEW_YORK = ZoneInfo("Europe/Vienna"), ZoneInfo("America/New_York")
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
# Clocks change around these moments; the last one by half an hour.
CHANGES = {
    "Europe/Vienna": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "America/New_York": ["2026-03-08T07:00", "2026-11-01T06:00"],
    "Australia/Lord_Howe": ["2026-04-04T15:00", "2026-10-03T15:30"],
    "UTC": ["2026-06-01T00:00"],
}


def window(cron: str, minutes: int, zone: str = "Europe/Vienna", effect: str = "allow", name: str = "night") -> Window:
    return Window(name=name, cron=cron, minutes=minutes, time_zone=zone, effect=effect)


def at(text: str, zone: ZoneInfo = VIENNA, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


# The definition of a window, implemented again without optimization


@dataclass(frozen=True)
class Field:
    """One part of a cron expression and what it stands for."""

    text: str
    values: frozenset[int]

    @property
    def is_any(self) -> bool:
        return self.text.startswith("*")


def fields(top: int) -> st.SearchStrategy[Field]:
    one = st.integers(0, top).map(lambda value: Field(str(value), frozenset({value})))
    two = st.tuples(st.integers(0, top), st.integers(0, top)).map(
        lambda pair: Field(f"{min(pair)}-{max(pair)}", frozenset(range(min(pair), max(pair) + 1)))
    )
    step = st.sampled_from([2, 3, 15]).map(lambda size: Field(f"*/{size}", frozenset(range(0, top + 1, size))))
    return one | two | step | st.just(Field("*", frozenset(range(top + 1))))


def starts_slowly(minute: Field, hour: Field, weekday: Field, zone: ZoneInfo, since: datetime, until: datetime) -> set:  # type: ignore[type-arg]  # of moments
    """Every moment it begins, minute for minute.

    A fixed time that the clocks leave out counts when they go on, and one that comes twice counts once; what comes
    every hour or every few minutes comes as time passes.
    """
    moments = [since + index * MINUTE for index in range((until - since) // MINUTE)]
    if minute.is_any or hour.is_any:
        local = [(moment, moment.astimezone(zone)) for moment in moments]
        return {each for each, here in local if matches(here, minute, hour, weekday)}
    found = set()
    naive = since.astimezone(zone).replace(tzinfo=None) - 3 * HOUR
    while naive < until.astimezone(zone).replace(tzinfo=None) + 3 * HOUR:
        if matches(naive, minute, hour, weekday):
            real = naive.replace(tzinfo=zone)
            while real.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != real.replace(tzinfo=None):
                real = (real.replace(tzinfo=None) + MINUTE).replace(tzinfo=zone)
            found.add(real.astimezone(UTC))
        naive += MINUTE
    return found


def matches(moment: datetime, minute: Field, hour: Field, weekday: Field) -> bool:
    return (
        moment.minute in minute.values
        and moment.hour in hour.values
        and (weekday.is_any or moment.isoweekday() % 7 in weekday.values)
    )


@st.composite
def situations(draw: st.DrawFn) -> tuple[Window, list[datetime], datetime]:
    """A window, every time it begins around a change of clocks, and a moment near it."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    change = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone]))).replace(tzinfo=UTC)
    minute, hour = draw(fields(59)), draw(st.integers(0, 4).map(lambda h: Field(str(h), frozenset({h}))) | fields(23))
    weekday = draw(st.just(Field("*", frozenset(range(7)))) | st.just(Field("0", frozenset({0}))))
    minutes = draw(st.integers(1, 240))
    moment = change + draw(st.integers(-150, 200)) * MINUTE + timedelta(seconds=draw(st.sampled_from([0, 1, 59])))
    starts = starts_slowly(minute, hour, weekday, ZoneInfo(zone), change - 7 * HOUR, change + 4 * HOUR)
    return window(f"{minute.text} {hour.text} * * {weekday.text}", minutes, zone), sorted(starts), moment


@settings(max_examples=100, deadline=None)
@given(situations())
def test_a_window_is_open_exactly_so_long_after_each_time_it_begins(
    situation: tuple[Window, list[datetime], datetime],
) -> None:
    row, starts, moment = situation
    length = timedelta(minutes=row.minutes)
    assert windows.is_within(row, moment) == any(start <= moment < start + length for start in starts)
    later = [start for start in starts if start > moment]
    if later:
        assert windows.next_start(row, moment) == later[0]
    if windows.is_within(row, moment):
        closes = windows.end(row, moment)
        assert closes is None or (closes > moment and not windows.is_within(row, closes))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.builds(
            window,
            st.sampled_from(["0 1 * * *", "30 2 * * *", "0 */6 * * *", "0 22 * * 1-5", "*/30 * * * *"]),
            st.sampled_from([1, 20, 60, 720]),
            st.sampled_from(sorted(CHANGES)),
            st.sampled_from(["allow", "deny"]),
        ),
        max_size=4,
    ),
    offset=st.integers(0, 4 * 24 * 60),
    freeze=st.none() | st.integers(-10, 4000),
)
def test_the_drawn_calendar_is_what_decides(rows: list[Window], offset: int, freeze: int | None) -> None:
    since = at("2026-10-23T12:00")
    frozen = () if freeze is None else (Freeze(environment=Environment(slug="dev"), until=since + freeze * MINUTE),)
    calendar, moment = Calendar(tuple(rows), frozen), since + offset * MINUTE
    drawn = calendar.open_spans(since, since + 5 * DAY)
    standing = calendar.at(moment)
    assert standing.is_open == inside(drawn, moment)
    assert drawn == sorted(drawn)
    if not standing and standing.opens_at and standing.opens_at < since + 5 * DAY:
        # Not a minute too early: nothing of what is drawn lies between.
        assert not [span for span in drawn if moment < span[0] < standing.opens_at]
        assert inside(drawn, standing.opens_at)


def inside(spans: list[Span], moment: datetime) -> bool:
    return any(start <= moment < close for start, close in spans)


# Clock changes


@pytest.mark.parametrize(
    ("zone", "day", "goes_on"),
    [(VIENNA, "2026-03-29", "2026-03-29T01:00"), (NEW_YORK, "2026-03-08", "2026-03-08T07:00")],
)
def test_a_time_that_the_clocks_leave_out_counts_when_they_go_on(zone: ZoneInfo, day: str, goes_on: str) -> None:
    half_past_two = window("30 2 * * *", 60, str(zone))
    three = datetime.fromisoformat(goes_on).replace(tzinfo=UTC)
    assert windows.next_start(half_past_two, at(f"{day}T01:59", zone)) == three
    assert not windows.is_within(half_past_two, three - MINUTE)
    assert windows.is_within(half_past_two, three)
    assert windows.end(half_past_two, three) == three + HOUR


@pytest.mark.parametrize(
    ("zone", "day", "first", "tomorrow"),
    [
        (VIENNA, "2026-10-25", "2026-10-25T00:30", "2026-10-26T01:30"),
        (NEW_YORK, "2026-11-01", "2026-11-01T05:30", "2026-11-02T06:30"),
    ],
)
def test_a_time_that_comes_twice_counts_once(zone: ZoneInfo, day: str, first: str, tomorrow: str) -> None:
    hour = "2" if zone == VIENNA else "1"
    half_past = window(f"30 {hour} * * *", 45, str(zone))
    began = datetime.fromisoformat(first).replace(tzinfo=UTC)
    assert windows.next_start(half_past, began - HOUR) == began
    assert windows.is_within(half_past, began + 44 * MINUTE)
    again = at(f"{day}T0{hour}:40", zone, fold=1)
    assert not windows.is_within(half_past, again)
    assert windows.next_start(half_past, again) == datetime.fromisoformat(tomorrow).replace(tzinfo=UTC)


def test_a_window_over_midnight_is_open_on_both_days() -> None:
    night = window("0 22 * * 5", 8 * 60)
    assert windows.is_within(night, at("2026-11-20T23:59"))
    assert windows.is_within(night, at("2026-11-21T05:59"))
    assert not windows.is_within(night, at("2026-11-21T06:00"))
    assert not windows.is_within(night, at("2026-11-20T21:59"))
    assert not windows.is_within(night, at("2026-11-21T22:30"))


@pytest.mark.parametrize(
    ("zone", "evening", "morning"),
    [
        (VIENNA, "2026-03-28T22:00", "2026-03-29T07:00"),
        (VIENNA, "2026-10-24T22:00", "2026-10-25T05:00"),
        (NEW_YORK, "2026-03-07T22:00", "2026-03-08T07:00"),
        (NEW_YORK, "2026-10-31T22:00", "2026-11-01T05:00"),
    ],
)
def test_a_window_over_the_change_lasts_as_long_as_it_says(zone: ZoneInfo, evening: str, morning: str) -> None:
    """Eight hours that pass: the clock shows an hour more in spring, and one less in autumn."""
    night, close = window("0 22 * * *", 8 * 60, str(zone)), at(morning, zone)
    assert windows.end(night, at(evening, zone)) == close
    assert windows.is_within(night, close - MINUTE)
    assert not windows.is_within(night, close)


def test_a_window_that_begins_before_it_has_ended_is_one() -> None:
    always = window("0 * * * *", 60)
    assert windows.end(always, at("2026-11-20T10:30")) is None
    twice = window("0 10,11 * * *", 90)
    assert windows.end(twice, at("2026-11-20T10:30")) == at("2026-11-20T12:30")
    since, until = at("2026-11-20T00:00"), at("2026-11-21T00:00")
    assert windows.spans(twice, since, until) == [(at("2026-11-20T10:00"), at("2026-11-20T12:30"))]


def test_a_rare_day_is_found_and_a_prohibition_without_end_has_none() -> None:
    leap = window("0 6 29 2 *", 60)
    assert windows.next_start(leap, at("2026-11-20T00:00")) == at("2028-02-29T06:00")
    assert windows.next_starts(window("0 6 * * 1", 60), at("2026-11-20T00:00"), 2) == [
        at("2026-11-23T06:00"),
        at("2026-11-30T06:00"),
    ]
    never = window("0 * * * *", 60, effect="deny")
    standing = Calendar((never,), ()).at(at("2026-11-20T00:00"))
    assert standing.opens_at is None
    assert standing.sentence.endswith(windows.until(None))


# Windows and freezes of a deployment


def test_a_prohibition_wins_and_the_sentence_says_until_when() -> None:
    evening = window("0 18 * * *", 4 * 60, name="evening")
    month_end = window("0 17 30 11 *", 120, effect="deny", name="month end")
    standing = Calendar((evening, month_end), ()).at(at("2026-11-30T18:30"))
    assert not standing
    assert standing.opens_at == at("2026-11-30T19:00")
    assert "“month end”" in standing.sentence
    assert "30 Nov 2026, 18:00 UTC" in standing.sentence
    assert "evening" not in standing.sentence
    assert Calendar((evening, month_end), ()).at(at("2026-11-29T18:30"))


def test_any_of_several_allowing_windows_is_enough() -> None:
    rows = (window("0 6 * * *", 60, name="morning"), window("0 18 * * *", 60, name="evening"))
    standing = Calendar(rows, ()).at(at("2026-11-20T07:00"))
    assert "“morning” or “evening”" in standing.sentence
    assert standing.opens_at == at("2026-11-20T18:00")
    assert Calendar(rows, ()).at(at("2026-11-20T18:00"))


def test_a_freeze_closes_what_a_window_opens_until_its_time() -> None:
    environment = Environment(slug="prod")
    freeze = Freeze(environment=environment, reason="Audit", begun_by_name="anna", until=at("2026-11-20T18:30"))
    calendar = Calendar((window("0 18 * * *", 60),), (freeze,))
    standing = calendar.at(at("2026-11-20T18:10"))
    assert standing.sentence.startswith("prod is frozen by anna: Audit.")
    assert standing.opens_at == at("2026-11-20T18:30")
    assert Calendar((), (Freeze(environment=environment),)).at(at("2026-11-20T18:10")).opens_at is None


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("selector", "bears"),
    [
        ({}, True),
        ({"tag": "crm"}, True),
        ({"tag": "other"}, False),
        ({"flow_name": "monthly"}, True),
        ({"full_name": "monthly/monthly"}, True),
        ({"full_name": "monthly/weekly"}, False),
        ({"is_active": False}, False),
    ],
)
def test_a_window_bears_on_what_its_selector_names(
    deployment: Deployment, prod: Environment, selector: dict[str, object], bears: bool
) -> None:
    made = {"cron": "0 0 1 1 *", "minutes": 1, "effect": "allow"}
    Window.objects.create(name="elsewhere", environment=prod, **made)
    for name, environment in (("everywhere", None), ("here", deployment.environment)):
        Window.objects.create(name=name, environment=environment, **made, **selector)
    names = [each.name for each in Calendar.of(Target.of(deployment)).windows]
    assert names == (["everywhere", "here"] if bears else [])
