"""Drift: compares a month's deals and their predictions with the reference."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from flows.crm import alert_levels, column_counts, inputs, metrics, outcome_drift
from flows.crm.alert_levels import Reading
from flows.crm.column_counts import WATCHED, Counts
from flows.crm.column_tests import TESTS, ColumnDrift, Kind
from flows.crm.failures import TooFewDeals
from flows.crm.inputs import Numbers
from flows.crm.metrics import P_VALUE, SURE, Quality
from flows.crm.sales_activity import Activity

PREDICTION = "prediction"
P_MISSING = 0.05  # for missing values: most references have none, and then a few are enough
FEWEST = 50  # deals of a month, and predictions; fewer are too few to test


@dataclass(frozen=True, slots=True)
class DataQuality:
    """Shares of the monitored cells; `score` is 1 if nothing is worse than in the reference."""

    missing: float
    missing_in_reference: float
    missing_added: dict[str, float]  # by column, above the reference, of the cells that must be filled in
    missing_beyond_chance: dict[str, float]  # the same, or 0 where it may be chance
    unseen: float  # categories not in the reference, numbers outside its range

    @property
    def score(self) -> float:
        added = sum(self.missing_added.values()) / len(self.missing_added)
        return max(0.0, 1 - added - self.unseen)


@dataclass(frozen=True, slots=True)
class Found:
    """The drift of a month; `performance` is None if too few outcomes are known."""

    deals: int
    reference_deals: int
    columns: list[ColumnDrift]
    prediction: ColumnDrift
    predictions: int  # of deals with a known account, which are compared
    prediction_distance: float | None  # mean shift of the predictions (Wasserstein), in deviations of the reference's
    quality: DataQuality
    performance: Quality | None
    outcomes: list[ColumnDrift]  # outcomes against predictions, by the segments of a column; empty if not known
    activity: Activity
    readings: list[Reading]

    @property
    def level(self) -> str:
        return alert_levels.overall(self.readings)

    @property
    def drifted(self) -> list[ColumnDrift]:
        return [column for column in self.columns if column.drifted]

    @property
    def share(self) -> float:
        return len(self.drifted) / len(self.columns)


def observed(deals: pd.DataFrame) -> pd.DataFrame:
    """Return the monitored columns and the prediction in plain types; unknown values are None or NaN.

    The prediction of a deal without an account is left out. It is an average one, and new deals lack their account more
    often than those of the reference, so every month would seem to drift.
    """
    found = column_counts.observed(deals)
    known = found[list(inputs.OF_THE_ACCOUNT)].notna().any(axis="columns")
    return found.assign(**{PREDICTION: pd.Series(deals[PREDICTION].to_numpy(dtype=np.float64)).where(known)})


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    counts: Counts,
    earlier: pd.DataFrame,
    closed: pd.DataFrame,
    activity: Activity,
    baseline: dict[str, Any],
    report: Callable[[float], None] = lambda share: None,
) -> Found:
    """Compare a month with the reference. Raises `TooFewDeals`.

    `reference` is a sample, and `counts` are those of all deals that it was drawn from. `closed`: deals of the month
    with prediction and outcome. `earlier`: the same of deals closed before, from which the model did not learn.
    `baseline`: the quality in the model's card. `report` receives the share that is done, from 0 to 1.
    """
    if len(current) < FEWEST:
        raise TooFewDeals(
            f"Only {len(current)} deals were engaged in that month, and {FEWEST} are needed: choose another."
        )
    # 1. Inputs: one test a column.
    was, now = observed(reference), observed(current)
    columns = []
    for name, kind in WATCHED.items():
        columns.append(_column(name, kind, counts[name], now[name]))
        report(len(columns) / (len(WATCHED) + 1))
    # 2. Predictions: a test, and a distance that says how large the shift is.
    prediction = _column(PREDICTION, "number", was[PREDICTION].value_counts(), now[PREDICTION])
    distance = _distance(was[PREDICTION].dropna(), now[PREDICTION].dropna())
    # 3. Data quality, and the model's performance on closed deals.
    quality = _quality(was, now, _due(reference), _due(current))
    performance = _performance(closed)
    outcomes = outcome_drift.compare(earlier, closed)
    # 4. The measures in `alert_levels.RULE`: what was measured, and what is judged.
    share = sum(column.drifted for column in columns) / len(columns)
    values: dict[str, tuple[float | None, float | None]] = {
        "dataset_drift_share": (share, share),
        # A distance that the test attributes to chance is no drift.
        "prediction_drift": (distance, distance if distance is None or prediction.drifted else 0.0),
        "missing_values_added": (max(quality.missing_added.values()), max(quality.missing_beyond_chance.values())),
        "unseen_values_share": (quality.unseen, quality.unseen),
        "auc_lost": _auc_lost(performance, baseline),
        "calibration_gap": outcomes.gap,
        "segment_gap": outcomes.segments,
        "volume_change": (activity.volume.measured, activity.volume.beyond_chance),
        "pace_change": (activity.pace.measured, activity.pace.beyond_chance),
        "value_change": (activity.value.measured, activity.value.beyond_chance),
    }
    report(1.0)
    return Found(
        len(now),
        len(was),
        columns,
        prediction,
        int(now[PREDICTION].notna().sum()),
        distance,
        quality,
        performance,
        outcomes.columns,
        activity,
        alert_levels.read(values),
    )


def _column(name: str, kind: Kind, counts: pd.Series, now: pd.Series) -> ColumnDrift:
    test, compare_samples = TESTS[kind]
    statistic, p_value = compare_samples(counts, now.value_counts())
    return ColumnDrift(name, test, statistic, p_value, P_VALUE)


def _due(deals: pd.DataFrame) -> pd.DataFrame:
    """Return which cells must be filled in: accounts only of closed deals, as the sales desk adds them at closing."""
    closed = deals["won"].notna().to_numpy(dtype=bool)
    return pd.DataFrame({name: closed if name in inputs.OF_THE_ACCOUNT else np.ones_like(closed) for name in WATCHED})


def _distance(was: pd.Series, now: pd.Series) -> float | None:
    """Return the mean shift of the predictions in standard deviations; None with too few predictions."""
    if min(len(was), len(now)) < FEWEST:
        return None
    # Without any spread the model predicts the base rate for every deal.
    return float(stats.wasserstein_distance(was, now)) / (float(was.std()) or 1.0)


def _missing(deals: pd.DataFrame, due: pd.DataFrame, name: str) -> tuple[int, int]:
    """Return how many cells that must be filled in are missing, and how many there are."""
    return int((deals[name].isna() & due[name]).sum()), int(due[name].sum())


def _missing_added(was: tuple[int, int], now: tuple[int, int]) -> tuple[float, float]:
    """Return the share of missing cells above the reference, and the same or 0 where it may be chance."""
    added = max(0.0, now[0] / max(now[1], 1) - was[0] / max(was[1], 1))
    table = [[now[0], now[1] - now[0]], [was[0], was[1] - was[0]]]
    return added, added if stats.fisher_exact(table, alternative="greater").pvalue < P_MISSING else 0.0


def _quality(was: pd.DataFrame, now: pd.DataFrame, due_then: pd.DataFrame, due_now: pd.DataFrame) -> DataQuality:
    watched = list(WATCHED)
    unseen = 0
    for name, kind in WATCHED.items():
        known = was[name].dropna()
        if kind == "number":
            unseen += int(((now[name] < known.min()) | (now[name] > known.max())).sum())
        else:
            unseen += int((now[name].notna() & ~now[name].isin(set(known))).sum())
    added = {name: _missing_added(_missing(was, due_then, name), _missing(now, due_now, name)) for name in watched}
    return DataQuality(
        float(now[watched].isna().to_numpy().mean()),
        float(was[watched].isna().to_numpy().mean()),
        {name: measured for name, (measured, _) in added.items()},
        {name: beyond for name, (_, beyond) in added.items()},
        unseen / now[watched].size,
    )


def _performance(closed: pd.DataFrame) -> Quality | None:
    """Return the quality of the predictions for closed deals; None if there are too few."""
    chances: Numbers = closed[PREDICTION].to_numpy(dtype=np.float64)
    won: Numbers = closed["won"].to_numpy(dtype=np.float64)
    return metrics.evaluate(chances, won) if metrics.enough(won) else None


def _auc_lost(performance: Quality | None, baseline: dict[str, Any]) -> tuple[float | None, float | None]:
    """Return the AUC lost, and what is lost beyond chance."""
    if performance is None:
        return None, None
    lost = float(baseline["auc"]) - performance.auc
    # Both AUCs are estimates: subtract the margin of their difference, scaled from 95% to 99%.
    margins = (baseline["auc_high"] - baseline["auc"], performance.auc_high - performance.auc)
    return lost, max(0.0, lost - SURE / 1.96 * float(np.hypot(*margins)))
