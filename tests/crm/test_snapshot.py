"""A month knows what was known at its end, and nothing else."""

from datetime import date, timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.crm.failures import BadSource
from flows.crm.generator import Recipe, generate
from flows.crm.months import last_day
from flows.crm.snapshot import as_of, span
from flows.crm.table_schema import SHAPES, Tables, typed
from tests.crm.tables import deals, tables

START = date(2017, 1, 1)
COLUMNS = SHAPES["sales_pipeline"].columns
UNHURRIED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pipeline(found: Tables) -> pd.DataFrame:
    return found["sales_pipeline"].set_index("opportunity_id")


def test_deals_engaged_later_are_unseen_and_those_closed_later_are_open() -> None:
    march = pipeline(as_of(tables(), date(2017, 3, 31)))
    assert march["deal_stage"].to_dict() == {
        "D1": "Won",
        "D2": "Lost",
        "D3": "Engaging",
        "D4": "Engaging",
        "D5": "Prospecting",
    }
    assert march["close_date"].notna().to_dict() == {"D1": True, "D2": True, "D3": False, "D4": False, "D5": False}


def test_the_value_of_an_open_deal_does_not_tell_whether_it_closes_later() -> None:
    march = pipeline(as_of(tables(), date(2017, 3, 31)))
    assert march.loc[["D3", "D4"], "close_value"].isna().all(), "D4 is written with a value of 0"


def test_the_last_day_of_the_month_counts() -> None:
    march, february = (pipeline(as_of(tables(), last_day(month))) for month in ("2017-03", "2017-02"))
    assert "D4" in march.index, "engaged on the last day"
    assert "D4" not in february.index
    assert february.loc["D2", "deal_stage"] == "Engaging"


def test_the_order_of_the_source_does_not_show() -> None:
    there = as_of(tables(), date(2017, 3, 31))
    back = as_of({name: table[::-1].reset_index(drop=True) for name, table in tables().items()}, date(2017, 3, 31))
    for name in SHAPES:
        pd.testing.assert_frame_equal(there[name], back[name])


def test_the_source_is_left_as_it_was() -> None:
    found = tables()
    as_of(found, date(2017, 2, 1))
    for name, table in tables().items():
        pd.testing.assert_frame_equal(found[name], table)


def test_the_span_runs_from_the_first_engagement_to_the_last_date() -> None:
    assert span(tables()) == ("2017-01", "2017-04")
    only_open = deals("D1,Ada,GTX Pro,Acorn,Engaging,2017-05-02,,")
    assert span(tables(sales_pipeline=only_open)) == ("2017-05", "2017-05")


def test_without_any_date_there_is_no_month() -> None:
    with pytest.raises(BadSource, match=r"^sales_pipeline has no engage_date in any row"):
        span(tables(sales_pipeline=deals("D1,Ada,GTX Pro,Acorn,Prospecting,,,")))


@st.composite
def a_deal(draw: st.DrawFn) -> dict[str, Any]:
    stage = draw(st.sampled_from(["Prospecting", "Engaging", "Won", "Lost"]))
    engaged = None if stage == "Prospecting" else START + timedelta(draw(st.integers(0, 300)))
    closed = engaged + timedelta(draw(st.integers(0, 150))) if engaged and stage in ("Won", "Lost") else None
    return {
        "sales_agent": draw(st.sampled_from(["Ada", "Bo"])),
        "product": "GTX Pro",
        "account": draw(st.sampled_from(["Acorn", None])),
        "deal_stage": stage,
        "engage_date": engaged,
        "close_date": closed,
        "close_value": draw(st.sampled_from([0, 55])) if closed else None,
    }


def table_of(rows: list[dict[str, Any]]) -> Tables:
    numbered = [{"opportunity_id": f"D{number}", **row} for number, row in enumerate(rows)]
    return {**tables(), "sales_pipeline": typed(COLUMNS, pd.DataFrame(numbered, columns=list(COLUMNS)))}


def another_future(row: dict[str, Any], day: date, other: dict[str, Any]) -> dict[str, Any]:
    """The same deal as far as it was known on the day, with what came later replaced."""
    if row["engage_date"] is None or (row["close_date"] or day + timedelta(1)) <= day:
        return row
    if row["engage_date"] > day:
        later = day + timedelta(20)
        return {**other, "deal_stage": "Lost", "engage_date": later, "close_date": later, "close_value": 0}
    if other["close_date"]:
        return {**row, "deal_stage": "Lost", "close_date": day + timedelta(1), "close_value": 7}
    return {**row, "deal_stage": "Engaging", "close_date": None, "close_value": None}


@UNHURRIED
@given(st.lists(st.tuples(a_deal(), a_deal()), min_size=1, max_size=12), st.integers(0, 400))
def test_another_future_gives_the_same_snapshot(rows: list[tuple[dict[str, Any], dict[str, Any]]], days: int) -> None:
    day = START + timedelta(days)
    happened = table_of([row for row, _ in rows])
    otherwise = table_of([another_future(row, day, other) for row, other in rows])
    seen, seen_otherwise = as_of(happened, day), as_of(otherwise, day)
    pd.testing.assert_frame_equal(seen["sales_pipeline"], seen_otherwise["sales_pipeline"])


@UNHURRIED
@given(st.lists(a_deal(), min_size=1, max_size=12), st.integers(0, 400), st.integers(0, 60))
def test_a_snapshot_of_a_later_snapshot_is_the_snapshot(rows: list[dict[str, Any]], days: int, later: int) -> None:
    day, found = START + timedelta(days), table_of(rows)
    direct, over = as_of(found, day), as_of(as_of(found, day + timedelta(later)), day)
    pd.testing.assert_frame_equal(direct["sales_pipeline"], over["sales_pipeline"])


def test_no_date_of_any_month_lies_after_it() -> None:
    world = generate(Recipe(deals_a_month=60)).tables
    for month in ("2016-10", "2017-05", "2017-12"):
        seen, end = as_of(world, last_day(month))["sales_pipeline"], pd.Timestamp(last_day(month))
        assert not (seen["engage_date"] > end).any()
        assert not (seen["close_date"] > end).any()


def test_every_month_holds_all_that_the_month_before_held() -> None:
    """Months are cumulative: nothing that was known is forgotten, and a closed deal stays as it was."""
    world, before = generate(Recipe(deals_a_month=60)).tables, pd.DataFrame()
    for month in ("2016-11", "2017-02", "2017-06", "2017-12"):
        known = pipeline(as_of(world, last_day(month)))
        if not before.empty:
            assert set(before.index) <= set(known.index)
            closed = before[before["close_date"].notna()]
            pd.testing.assert_frame_equal(known.loc[closed.index], closed)
        before = known
