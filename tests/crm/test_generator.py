"""The generated world: the same on every machine, as untidy as a real one, and with a truth to be found."""

import hashlib
from dataclasses import replace

import pandas as pd
import pytest

from flows.crm import source
from flows.crm.failures import BadSource
from flows.crm.generator import Generated, Recipe, generate
from flows.crm.snapshot import span
from flows.crm.table_schema import SHAPES

SMALL = Recipe(deals_a_month=60, prospects=40)


@pytest.fixture(scope="module")
def world() -> Generated:
    return generate()


def test_the_tables_have_the_columns_of_the_crm(world: Generated) -> None:
    for name, shape in SHAPES.items():
        assert list(world.tables[name].columns) == list(shape.columns)
        assert world.tables[name][shape.identifier].is_unique


def test_it_has_the_size_of_the_real_tables(world: Generated) -> None:
    assert {name: len(table) for name, table in world.tables.items()} == {
        "accounts": 85,
        "products": 7,
        "sales_teams": 35,
        "sales_pipeline": 8310,
    }
    assert span(world.tables) == ("2016-10", "2017-12")


def test_the_same_recipe_gives_the_same_tables() -> None:
    for name, table in generate(SMALL).tables.items():
        pd.testing.assert_frame_equal(table, generate(SMALL).tables[name])


def test_the_draws_are_the_same_on_every_machine() -> None:
    """Written down once: a change here changes every lake made from generated data."""
    text = "".join(table.to_csv(index=False) for table in generate(SMALL).tables.values())
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "ea2f9dbff4d42668"


def test_another_seed_gives_another_world() -> None:
    ids = [set(generate(replace(SMALL, seed=seed)).tables["sales_pipeline"]["opportunity_id"]) for seed in (1, 2)]
    assert not ids[0] & ids[1]


def test_more_months_leave_the_closed_deals_alone() -> None:
    short = generate(SMALL).tables["sales_pipeline"]
    closed = short[short["close_date"].notna()].set_index("opportunity_id")
    longer = generate(replace(SMALL, last_month="2018-03")).tables["sales_pipeline"].set_index("opportunity_id")
    pd.testing.assert_frame_equal(closed, longer.loc[closed.index])


def test_it_has_the_wrinkles_of_the_real_tables(world: Generated) -> None:
    deals, accounts = world.tables["sales_pipeline"], world.tables["accounts"]
    stage = deals["deal_stage"]
    is_open = stage.isin(["Prospecting", "Engaging"])
    assert set(stage) == {"Prospecting", "Engaging", "Won", "Lost"}
    assert 0.12 < (deals["product"] == "GTXPro").mean() < 0.22
    assert set(deals["product"]) - set(world.tables["products"]["product"]) == {"GTXPro"}
    assert {"technolgy"} < set(accounts["sector"])
    assert "technology" not in set(accounts["sector"])
    assert (deals["engage_date"].isna() == (stage == "Prospecting")).all()
    assert (deals["close_date"].isna() == is_open).all()
    assert (deals["close_value"].isna() == is_open).all()
    assert (deals.loc[stage == "Lost", "close_value"] == 0).all()
    assert (deals.loc[stage == "Won", "close_value"] > 0).all()
    assert deals.loc[~is_open, "account"].notna().all()
    assert 0.6 < deals.loc[is_open, "account"].isna().mean() < 0.75
    assert len(set(world.tables["sales_teams"]["sales_agent"]) - set(deals["sales_agent"])) == 5
    assert set(deals["account"].dropna()) <= set(accounts["account"])


def test_wins_follow_the_known_truth(world: Generated) -> None:
    deals = world.tables["sales_pipeline"].set_index("opportunity_id")
    closed = deals[deals["close_date"].notna()]
    truth = world.win_probability.loc[closed.index]
    won = closed["deal_stage"] == "Won"
    tenths = pd.DataFrame({"truth": truth, "won": won}).groupby(pd.qcut(truth, 10), observed=True).mean()
    assert (tenths["truth"] - tenths["won"]).abs().max() < 0.07
    assert truth[won].mean() - truth[~won].mean() > 0.06, "there is something to learn"


def test_drift_leaves_the_deals_before_it_alone() -> None:
    calm, bent = generate(SMALL), generate(replace(SMALL, drift=1.0))
    before = calm.tables["sales_pipeline"]["engage_date"] < "2017-07-01"
    pd.testing.assert_frame_equal(calm.tables["sales_pipeline"][before], bent.tables["sales_pipeline"][before])


def test_drift_changes_what_is_sold_and_how_often(world: Generated) -> None:
    bent = generate(Recipe(drift=1.0))
    after = world.tables["sales_pipeline"]["engage_date"] >= "2017-07-01"
    ids = world.tables["sales_pipeline"].loc[after, "opportunity_id"]
    assert world.win_probability[ids].mean() - bent.win_probability[ids].mean() > 0.1
    dear = [
        (tables["sales_pipeline"].loc[after, "product"] == "MG Advanced").mean()
        for tables in (world.tables, bent.tables)
    ]
    assert dear[1] > dear[0] * 1.3


def test_the_environment_bends_the_world() -> None:
    assert source.load({"CRM_DRIFT": "0.5"}).name == "generator, seed 1, drift 0.5"
    assert source.load({}).name == "generator, seed 1, drift 0"


@pytest.mark.parametrize("drift", ["much", "2", "-0.1", "nan"])
def test_a_drift_that_is_none_is_refused(drift: str) -> None:
    with pytest.raises(BadSource, match=r"CRM_DRIFT is '.*': write a number from 0 \(no drift\) to 1\."):
        source.load({"CRM_DRIFT": drift})
