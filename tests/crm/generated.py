"""Small generated worlds, taken through the steps of the pipelines without Prefect."""

from dataclasses import dataclass

import pandas as pd

from flows.crm import (
    candidates,
    column_counts,
    corrections,
    drift,
    features,
    model_training,
    outcome_drift,
    sales_activity,
)
from flows.crm import sample as crm_sample
from flows.crm.column_counts import Counts
from flows.crm.drift import Found
from flows.crm.generator import Generated, Recipe, generate
from flows.crm.metrics import Quality, evaluate
from flows.crm.months import last_day
from flows.crm.scorer import Model
from flows.crm.snapshot import as_of
from flows.crm.table_schema import Tables

REFERENCE, CURRENT = "2017-06", "2017-08"
CALM = sales_activity.Change(0.0, 0.0)
USUAL = sales_activity.Activity(200, 200.0, 150, 150.0, 1.0, 1.0, CALM, CALM, CALM)


@dataclass(frozen=True)
class Month:
    tables: Tables
    deals: pd.DataFrame
    closed: pd.DataFrame


def world(seed: int = 1, drift_strength: float = 0.0) -> Generated:
    return generate(
        Recipe(
            seed=seed, first_month="2017-01", last_month=CURRENT, deals_a_month=200, prospects=5, drift=drift_strength
        )
    )


def month(tables: Tables, name: str) -> Month:
    known = corrections.clean(as_of(tables, last_day(name)))
    deals = features.build(known)
    return Month(known, deals, model_training.closed_deals(deals, known["sales_pipeline"]))


@dataclass(frozen=True)
class Reference:
    model: Model
    quality: Quality
    deals: pd.DataFrame
    counts: Counts
    learned_until: pd.Timestamp
    earlier: pd.DataFrame  # closed deals with predictions, from which the model did not learn


def reference(tables: Tables) -> Reference:
    then = month(tables, REFERENCE)
    parts = model_training.split(then.closed, REFERENCE)
    model = candidates.fit("logistic-regression", parts.learning, parts.comparing)
    sample = crm_sample.stratified(then.deals, 800, REFERENCE)
    quality = evaluate(model(parts.judging), candidates.outcomes(parts.judging))
    learned_until = parts.learning["close_date"].max()
    earlier = outcome_drift.since_learning(then.closed, learned_until, REFERENCE)
    return Reference(
        model,
        quality,
        sample.assign(prediction=model(sample)),
        column_counts.count(then.deals),
        learned_until,
        earlier.assign(prediction=model(earlier)),
    )


def monitored(tables: Tables, normal: Reference) -> Found:
    now = month(tables, CURRENT)
    deals = now.deals[now.deals["engage_date"] > pd.Timestamp("2017-07-31")]
    closed = now.closed[now.closed["close_date"] > pd.Timestamp("2017-07-31")]
    return drift.compare(
        normal.deals,
        deals.assign(prediction=normal.model(deals)),
        counts=normal.counts,
        earlier=normal.earlier,
        closed=closed.assign(prediction=normal.model(closed)),
        activity=sales_activity.measure(now.tables, CURRENT, REFERENCE),
        baseline=normal.quality.as_json(),
    )
