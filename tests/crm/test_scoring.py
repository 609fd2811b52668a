"""Scores of open deals: who is scored, in which order, and what is kept."""

import json

import numpy as np
import pandas as pd
import pytest

from flows.crm import lake, scoring
from flows.crm.table_schema import to_arrow
from tests.crm import generated
from tests.crm.generated import Month, Reference


@pytest.fixture(scope="module")
def month() -> Month:
    return generated.month(generated.world().tables, generated.CURRENT)


@pytest.fixture(scope="module")
def normal() -> Reference:
    return generated.reference(generated.world().tables)


@pytest.fixture(scope="module")
def scores(month: Month, normal: Reference) -> pd.DataFrame:
    open_deals = scoring.open_deals(month.deals, month.tables)
    return scoring.rank(open_deals, normal.model, "2017-06-abc")


def test_every_open_deal_is_scored_and_no_other(month: Month, scores: pd.DataFrame) -> None:
    deals = month.tables["sales_pipeline"]
    assert set(scores["opportunity_id"]) == set(deals.loc[deals["deal_stage"] == "Engaging", "opportunity_id"])
    assert scores["win_probability"].between(0, 1).all()
    assert set(scores["model_version"]) == {"2017-06-abc"}


def test_the_probability_is_that_of_the_model(month: Month, normal: Reference, scores: pd.DataFrame) -> None:
    by_name = pd.Series(normal.model(month.deals), index=month.deals["opportunity_id"])
    np.testing.assert_array_equal(scores["win_probability"], by_name[scores["opportunity_id"]])
    names = month.tables["sales_pipeline"].set_index("opportunity_id")["account"]
    assert scores["account"].isna().tolist() == names[scores["opportunity_id"]].isna().tolist()


def test_the_most_probable_comes_first(scores: pd.DataFrame) -> None:
    assert scores["win_probability"].is_monotonic_decreasing


def test_rows_are_plain_json(scores: pd.DataFrame) -> None:
    rows = scoring.rows(scores)
    assert json.loads(lake.encode(rows)) == rows
    assert {row["account"] for row in rows} > {None}
    assert rows[0]["engage_date"].startswith("2017-")


def test_no_open_deal_is_no_failure(month: Month, normal: Reference) -> None:
    none = scoring.rank(scoring.open_deals(month.deals, month.tables).head(0), normal.model, "2017-06-abc")
    assert len(none) == 0
    assert scoring.rows(none) == []
    assert to_arrow(none, scoring.COLUMNS).num_rows == 0
