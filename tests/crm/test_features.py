"""Features: what was known on the day of engagement, and nothing that gives the outcome away."""

from datetime import timedelta

import pandas as pd
import pytest

from flows.crm import corrections, features
from flows.crm.generator import Recipe, generate
from flows.crm.months import last_day
from flows.crm.snapshot import as_of
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
    """Turn round every outcome after a day: no deal must notice."""
    day = pd.Timestamp("2017-06-15")
    deals = world["sales_pipeline"].copy()
    later = deals["close_date"] >= day
    deals.loc[later, "deal_stage"] = deals.loc[later, "deal_stage"].map({"Won": "Lost", "Lost": "Won"})
    deals.loc[later, "close_value"] = 1.0
    deals.loc[later, "close_date"] += timedelta(days=3)
    happened, otherwise = built(world), built({**world, "sales_pipeline": deals})
    pd.testing.assert_frame_equal(happened[KNOWN], otherwise[KNOWN])
    assert not happened["won"].equals(otherwise["won"]), "the change was a real one"


def test_a_small_case_by_hand() -> None:
    found = built(corrections.clean(tables()))
    deal = found.loc["D4"]
    assert (deal["sector"], deal["sales_price"], deal["manager"]) == ("unknown", 55, "Olga")
    assert pd.isna(deal["revenue"])
    assert pd.isna(deal["is_domestic"])
    assert pd.isna(deal["won"])
    first = found.loc["D1"]
    assert (first["series"], first["manager"], first["employees"]) == ("GTX", "Olga", 2822)
    assert (bool(first["is_domestic"]), bool(first["is_subsidiary"]), bool(first["won"])) == (True, False, True)


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
