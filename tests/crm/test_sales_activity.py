"""Activity: new deals, the pace of closing and won values of a month, against the months before."""

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest

from flows.crm import corrections, sales_activity
from flows.crm.months import last_day
from flows.crm.sales_activity import Activity
from flows.crm.snapshot import as_of
from flows.crm.table_schema import Tables
from tests.crm import generated

MONTH, REFERENCE = generated.CURRENT, generated.REFERENCE


@pytest.fixture(scope="module")
def tables() -> Tables:
    return corrections.clean(as_of(generated.world().tables, last_day(MONTH)))


def measured(tables: Tables, **columns: pd.Series) -> Activity:
    changed = {**tables, "sales_pipeline": tables["sales_pipeline"].assign(**columns)}
    return sales_activity.measure(changed, MONTH, REFERENCE)


def in_month(days: pd.Series) -> pd.Series:
    found: pd.Series = days.dt.strftime("%Y-%m") == MONTH
    return found


def beyond(change: sales_activity.Change) -> float:
    assert change.beyond_chance is not None
    return change.beyond_chance


def test_an_ordinary_month_has_no_change_beyond_chance(tables: Tables) -> None:
    found = sales_activity.measure(tables, MONTH, REFERENCE)
    deals = tables["sales_pipeline"]
    assert found.new_deals == in_month(deals["engage_date"]).sum()
    assert found.closings == in_month(deals["close_date"]).sum()
    assert found.expected_closings == pytest.approx(found.closings, rel=0.2)
    assert found.value_of_price == pytest.approx(1.0, abs=0.05)
    assert beyond(found.volume) < 1
    assert beyond(found.pace) == beyond(found.value) == 0


def test_closings_that_are_expected_are_those_of_deals_of_the_same_age() -> None:
    """Against the definition, written out slowly: each open day has the rate of its age."""
    days = pd.to_datetime(["2017-01-01", "2017-01-03", "2017-01-10", "2017-02-01", "2017-02-05", None])
    ends = pd.to_datetime(["2017-01-05", "2017-02-03", None, "2017-02-05", None, None])
    deals = pd.DataFrame({"engage_date": days, "close_date": ends}).dropna(subset=["engage_date"])
    january, february = last_day("2017-01"), last_day("2017-02")
    found = sales_activity._risk(deals, january.replace(day=1), january)
    open_days = dict.fromkeys(range(40), 0)
    for engaged, closed in zip(deals["engage_date"], deals["close_date"], strict=True):
        day = engaged
        while day <= pd.Timestamp(january) and not (pd.notna(closed) and day > closed):
            open_days[(day - engaged).days] += 1
            day += timedelta(days=1)
    assert {age: days for age, days in enumerate(found.open_days) if days} == {a: d for a, d in open_days.items() if d}
    assert np.flatnonzero(found.closings).tolist() == [4]
    later = sales_activity._risk(deals, february.replace(day=1), february)
    assert np.flatnonzero(later.closings).tolist() == [4, 31]
    assert later.open_days.sum() == 3 + 28 + 5 + 24


def test_a_month_in_which_no_new_deal_closes_is_found(tables: Tables) -> None:
    deals = tables["sales_pipeline"]
    undone = in_month(deals["engage_date"])
    found = measured(
        tables, close_date=deals["close_date"].mask(undone), deal_stage=deals["deal_stage"].mask(undone, "Engaging")
    )
    assert beyond(found.pace) > 0.05


def test_won_values_at_another_level_are_found(tables: Tables) -> None:
    deals = tables["sales_pipeline"]
    cheaper = deals["close_value"].mask(in_month(deals["close_date"]), deals["close_value"] * 0.4)
    found = measured(tables, close_value=cheaper)
    assert beyond(found.value) == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("kept", [3, 5])
def test_fewer_new_deals_are_found(tables: Tables, kept: int) -> None:
    deals = tables["sales_pipeline"]
    number = in_month(deals["engage_date"]).cumsum()
    fewer = deals[~in_month(deals["engage_date"]) | (number % kept == 0)]
    found = sales_activity.measure({**tables, "sales_pipeline": fewer}, MONTH, REFERENCE)
    assert found.usual_new_deals is not None
    assert found.volume.beyond_chance == pytest.approx(found.usual_new_deals / found.new_deals - 1)
    assert beyond(found.volume) > 1


def test_too_little_to_compare_is_not_known(tables: Tables) -> None:
    found = sales_activity.measure(tables, MONTH, "2017-01")
    assert found.volume == sales_activity.Change(), "one month is no usual number"
    few = {**tables, "sales_pipeline": tables["sales_pipeline"].head(20)}
    nothing = sales_activity.measure(few, MONTH, REFERENCE)
    assert nothing.pace == nothing.value == sales_activity.Change()
    assert nothing.expected_closings is None
    assert nothing.as_json()["value_of_price"] is None
