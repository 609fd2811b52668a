"""Generated worlds with and without planted drift, taken through the pipelines' own code without Prefect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from flows.crm import (
    column_counts,
    corrections,
    drift,
    features,
    metrics,
    model_training,
    outcome_drift,
    sales_activity,
    sample,
)
from flows.crm.column_counts import Counts
from flows.crm.drift import Found
from flows.crm.generator import Recipe, generate
from flows.crm.model_training import Trained
from flows.crm.months import last_day
from flows.crm.snapshot import as_of
from flows.crm.table_schema import Tables

REFERENCE, PLANTED = "2017-06", "2017-08"
CALM = ("2017-07", "2017-08", "2017-09")
REFERENCE_DEALS = 1000
BUSIEST = 1.2  # new deals of August and September, as a multiple of `deals_a_month`


@dataclass(frozen=True)
class World:
    tables: Tables
    trained: Trained
    reference: pd.DataFrame
    counts: Counts


def clean(tables: Tables, month: str) -> Tables:
    return corrections.clean(as_of(tables, last_day(month)))


def prepare(seed: int, deals: int) -> World:
    """Generate a world with about `deals` new deals a month; train and take the reference of June."""
    recipe = Recipe(
        seed=seed, first_month="2017-01", last_month=CALM[-1], deals_a_month=round(deals / BUSIEST), prospects=0
    )
    tables = generate(recipe).tables
    then = clean(tables, REFERENCE)
    known = features.build(then)
    trained = model_training.train(model_training.closed_deals(known, then["sales_pipeline"]), REFERENCE, None)
    taken = sample.stratified(known, min(REFERENCE_DEALS, len(known)), REFERENCE)
    return World(tables, trained, taken.assign(prediction=trained.model(taken)), column_counts.count(known))


def _within(days: pd.Series, month: str) -> pd.Series:
    last = pd.Timestamp(last_day(month))
    found: pd.Series = (days >= last.replace(day=1)) & (days <= last)
    return found


def monitor(world: World, tables: Tables, month: str) -> Found:
    """Monitor cleaned tables of a month as the flow does."""
    deals, model = tables["sales_pipeline"], world.trained.model
    known = features.build(tables)
    now = known[_within(known["engage_date"], month)]
    ended = model_training.closed_deals(known, deals)
    learned_until = world.trained.parts.learning["close_date"].max()
    earlier = outcome_drift.since_learning(ended, learned_until, REFERENCE)
    ended = ended[_within(ended["close_date"], month)]
    return drift.compare(
        world.reference,
        now.assign(prediction=model(now)),
        counts=world.counts,
        earlier=earlier.assign(prediction=model(earlier)),
        closed=ended.assign(prediction=model(ended)),
        activity=sales_activity.measure(tables, month, REFERENCE),
        baseline=world.trained.quality.as_json(),
    )


def is_alarm(found: Found) -> bool:
    return found.level not in ("NONE", "UNKNOWN")


def permuted_auc(closed: pd.DataFrame, month: str, seed: int) -> float:
    """Train on outcomes that were permuted among the closed deals, and return the AUC of the model."""
    outcomes = np.random.default_rng(seed).permutation(closed["won"].to_numpy(dtype=bool))
    found = model_training.train(closed.assign(won=pd.array(outcomes, dtype="boolean")), month, None)
    return metrics.auc(found.model(found.parts.judging), found.parts.judging["won"].to_numpy(dtype=np.float64))


Draws = np.random.Generator
Plant = Callable[[Tables, float, Draws], Tables]


def _month_of(days: pd.Series) -> pd.Series:
    return _within(days, PLANTED)


def _change_deals(tables: Tables, **columns: pd.Series) -> Tables:
    return {**tables, "sales_pipeline": tables["sales_pipeline"].assign(**columns)}


def _drawn(rows: pd.Series, share: float, draws: Draws) -> pd.Series:
    found: pd.Series = rows & (draws.random(len(rows)) < share)
    return found


def _revenue(tables: Tables, factor: float, draws: Draws) -> Tables:
    accounts = tables["accounts"]
    return {**tables, "accounts": accounts.assign(revenue=accounts["revenue"] * factor)}


def _one_product(tables: Tables, share: float, draws: Draws) -> Tables:
    deals = tables["sales_pipeline"]
    moved = _drawn(_month_of(deals["engage_date"]), share, draws)
    return _change_deals(tables, product=deals["product"].mask(moved, "GTX Basic"))


def _lost_wins(tables: Tables, share: float, draws: Draws) -> Tables:
    deals = tables["sales_pipeline"]
    turned = _drawn(_month_of(deals["close_date"]) & (deals["deal_stage"] == "Won"), share, draws)
    return _change_deals(
        tables, deal_stage=deals["deal_stage"].mask(turned, "Lost"), close_value=deals["close_value"].mask(turned, 0.0)
    )


def _missing_accounts(tables: Tables, share: float, draws: Draws) -> Tables:
    deals = tables["sales_pipeline"]
    missing = _drawn(_month_of(deals["engage_date"]), share, draws)
    return _change_deals(tables, account=deals["account"].mask(missing, None))


def _flipped_segment(tables: Tables, share: float, draws: Draws) -> Tables:
    deals = tables["sales_pipeline"]
    teams = tables["sales_teams"]
    segment = deals["sales_agent"].isin(teams.loc[teams["regional_office"] == "Central", "sales_agent"])
    turned = _drawn(_month_of(deals["close_date"]) & segment, share, draws)
    other = deals["deal_stage"].map({"Won": "Lost", "Lost": "Won"})
    return _change_deals(tables, deal_stage=deals["deal_stage"].mask(turned, other))


def _big_accounts(tables: Tables, share: float, draws: Draws) -> Tables:
    deals, accounts = tables["sales_pipeline"], tables["accounts"]
    big = accounts.nlargest(len(accounts) // 4, "employees")["account"].to_numpy(dtype=object)
    moved = _drawn(_month_of(deals["engage_date"]) & deals["account"].notna(), share, draws)
    chosen = pd.Series(draws.choice(big, len(deals)), index=deals.index)
    return _change_deals(tables, account=deals["account"].mask(moved, chosen))


def _no_closings(tables: Tables, share: float, draws: Draws) -> Tables:
    deals = tables["sales_pipeline"]
    undone = _drawn(_month_of(deals["engage_date"]) & deals["close_date"].notna(), share, draws)
    return _change_deals(
        tables,
        deal_stage=deals["deal_stage"].mask(undone, "Engaging"),
        close_date=deals["close_date"].mask(undone),
        close_value=deals["close_value"].mask(undone),
    )


def _values(tables: Tables, factor: float, draws: Draws) -> Tables:
    deals = tables["sales_pipeline"]
    here = _month_of(deals["close_date"])
    return _change_deals(tables, close_value=deals["close_value"].mask(here, deals["close_value"] * factor))


def _fewer_deals(tables: Tables, share: float, draws: Draws) -> Tables:
    deals = tables["sales_pipeline"]
    return {**tables, "sales_pipeline": deals[~_drawn(_month_of(deals["engage_date"]), share, draws)]}


# What is planted in the cleaned tables of August: by its name, its strengths from weak to strong.
PLANTS: dict[str, tuple[Plant, tuple[float, ...]]] = {
    "revenue times 1.1, 1.5, 3": (_revenue, (1.1, 1.5, 3.0)),
    "5, 15, 40% of the deals to one product": (_one_product, (0.05, 0.15, 0.4)),
    "8, 16, 32% of the wins lost": (_lost_wins, (0.08, 0.16, 0.32)),
    "accounts missing in 5, 15, 40%": (_missing_accounts, (0.05, 0.15, 0.4)),
    "outcomes of an office flipped in 20, 50, 100%": (_flipped_segment, (0.2, 0.5, 1.0)),
    "10, 25, 60% of the deals to big accounts": (_big_accounts, (0.1, 0.25, 0.6)),
    "no new deal closes in the month": (_no_closings, (1.0,)),
    "won value times 0.9, 0.4": (_values, (0.9, 0.4)),
    "60% of the new deals missing": (_fewer_deals, (0.6,)),
}
