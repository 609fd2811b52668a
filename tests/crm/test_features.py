"""Features: what was known on the day of engagement, and nothing that gives the outcome away."""

from datetime import timedelta

import duckdb
import pandas as pd
import pytest

from flows.crm import corrections, features
from flows.crm.generator import Recipe, generate
from flows.crm.months import last_day
from flows.crm.snapshot import CLOSED, as_of
from flows.crm.table_schema import Tables
from tests.crm.tables import tables

KNOWN = [*features.KEYS, *features.FEATURES]


@pytest.fixture(scope="module")
def world() -> Tables:
    return corrections.clean(generate(Recipe(deals_a_month=60)).tables)


def built(found: Tables) -> pd.DataFrame:
    return features.build(found).set_index("opportunity_id", drop=False)


def test_the_columns_are_those_that_are_declared(world: Tables) -> None:
    assert list(features.build(world).columns) == list(features.COLUMNS)
    assert not {"close_value", "close_date", "deal_stage", "account"} & set(features.COLUMNS)


def test_every_engaged_deal_has_a_row_and_no_prospect(world: Tables) -> None:
    engaged = world["sales_pipeline"].dropna(subset=["engage_date"])
    assert set(built(world).index) == set(engaged["opportunity_id"])


def test_the_label_is_the_outcome_and_empty_while_open(world: Tables) -> None:
    stage = world["sales_pipeline"].set_index("opportunity_id")["deal_stage"]
    won = built(world)["won"]
    assert (won[stage.loc[won.index] == "Won"]).all()
    assert not (won[stage.loc[won.index] == "Lost"]).any()
    assert won[stage.loc[won.index] == "Engaging"].isna().all()


def test_a_deal_looks_the_same_in_every_later_month(world: Tables) -> None:
    march, december = (built(as_of(world, last_day(month))) for month in ("2017-03", "2017-12"))
    pd.testing.assert_frame_equal(march[KNOWN], december.loc[march.index, KNOWN])


def test_another_future_changes_no_feature(world: Tables) -> None:
    """Turn round every outcome after a day: deals engaged by then must not notice."""
    day = pd.Timestamp("2017-06-15")
    deals = world["sales_pipeline"].copy()
    later = deals["close_date"] >= day
    deals.loc[later, "deal_stage"] = deals.loc[later, "deal_stage"].map({"Won": "Lost", "Lost": "Won"})
    deals.loc[later, "close_value"] = 1.0
    deals.loc[later, "close_date"] += timedelta(days=3)
    happened, otherwise = built(world), built({**world, "sales_pipeline": deals})
    by_then = happened["engage_date"] <= day
    pd.testing.assert_frame_equal(happened.loc[by_then, KNOWN], otherwise.loc[by_then, KNOWN])
    assert not happened.loc[~by_then, KNOWN].equals(otherwise.loc[~by_then, KNOWN]), "the change was a real one"


def test_histories_count_what_was_closed_before_the_day(world: Tables) -> None:
    """Against the definition, written out slowly."""
    deals, found = world["sales_pipeline"].set_index("opportunity_id"), built(world)
    for name in found.index[::37]:
        deal = deals.loc[name]
        before = deals[deals["deal_stage"].isin(CLOSED) & (deals["close_date"] < deal["engage_date"])]
        for column, prefix in (("sales_agent", "agent"), ("account", "account"), ("product", "product")):
            same = before[before[column] == deal[column]]
            rate = ((same["deal_stage"] == "Won").sum() + 5) / (len(same) + 10)
            assert found.loc[name, f"{prefix}_win_rate"] == pytest.approx(rate)
        mine = deals[deals["sales_agent"] == deal["sales_agent"]]
        open_then = (mine["engage_date"] < deal["engage_date"]) & ~(mine["close_date"] < deal["engage_date"])
        assert found.loc[name, "agent_open_deals"] == open_then.sum()
        assert found.loc[name, "house_win_rate"] == pytest.approx(
            ((before["deal_stage"] == "Won").sum() + 5) / (len(before) + 10)
        )


@pytest.mark.parametrize(
    ("column", "prefix"), [("sales_agent", "agent"), ("account", "account"), ("product", "product")]
)
def test_histories_of_every_deal_equal_those_of_a_database(world: Tables, column: str, prefix: str) -> None:
    deals = world["sales_pipeline"].dropna(subset=["engage_date"])
    with duckdb.connect() as database:
        database.register("deals", deals)
        counted = database.execute(
            f"""
            with days as (
                select {column} as who, close_date, count(*) as closed, count(*) filter (deal_stage = 'Won') as won
                from deals where deal_stage in ('Won', 'Lost') and {column} is not null group by all
            ),
            totals as (
                select who, close_date, sum(closed) over past as closed, sum(won) over past as won
                from days window past as (partition by who order by close_date)
            )
            select
                opportunity_id,
                coalesce(closed, 0) as closed,
                (coalesce(won, 0) + 5) / (coalesce(closed, 0) + 10) as rate
            from deals asof left join totals on deals.{column} = totals.who and deals.engage_date > totals.close_date
            """
        ).df()
    found, expected = built(world), counted.set_index("opportunity_id").loc[deals["opportunity_id"]]
    assert found[f"{prefix}_win_rate"].tolist() == pytest.approx(expected["rate"].tolist())
    if prefix != "product":
        assert found[f"{prefix}_closed_deals"].tolist() == expected["closed"].tolist()


def test_a_small_case_by_hand() -> None:
    found = built(corrections.clean(tables()))
    deal = found.loc["D4"]
    assert (deal["agent_closed_deals"], deal["agent_win_rate"], deal["agent_open_deals"]) == (2, 6 / 12, 0)
    assert (deal["sector"], deal["sales_price"], deal["engage_month"], deal["engage_weekday"]) == ("unknown", 55, 3, 4)
    assert pd.isna(deal["revenue"])
    assert pd.isna(deal["is_domestic"])
    assert pd.isna(deal["won"])
    first = found.loc["D1"]
    assert (first["series"], first["manager"], first["account_age_years"]) == ("GTX", "Olga", 21)
    assert (bool(first["is_domestic"]), bool(first["is_subsidiary"]), bool(first["won"])) == (True, False, True)
    assert first["house_win_rate"] == 0.5, "nothing was closed yet"


def test_a_month_without_closed_deals_has_features_and_no_label() -> None:
    found = features.build(as_of(corrections.clean(tables()), last_day("2017-01")))
    assert found["opportunity_id"].tolist() == ["D1", "D2"]
    assert found["won"].isna().all()


def test_progress_is_told_group_by_group() -> None:
    heard: list[tuple[str, float]] = []
    features.build(corrections.clean(tables()), lambda group, share: heard.append((group, share)))
    assert [group for group, _ in heard] == list(features.GROUPS)
    assert [share for _, share in heard] == sorted(share for _, share in heard)
    assert heard[-1][1] == 1.0
