"""Drift: compares a month's deals and their predictions with the reference."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from flows.crm import alert_levels, metrics
from flows.crm.alert_levels import Reading
from flows.crm.failures import TooFewDeals
from flows.crm.features import UNKNOWN
from flows.crm.inputs import Numbers
from flows.crm.metrics import Quality

Kind = Literal["category", "number"]

# Monitored columns. The calendar, counts and past win rates are not among them: they change with time by their nature.
WATCHED: dict[str, Kind] = {
    "product": "category",
    "series": "category",
    "sales_price": "number",
    "sector": "category",
    "revenue": "number",
    "employees": "number",
    "is_domestic": "category",
    "is_subsidiary": "category",
    "sales_agent": "category",
    "manager": "category",
    "regional_office": "category",
}
OF_THE_ACCOUNT = {"sector", "revenue", "employees", "is_domestic", "is_subsidiary"}
PREDICTION = "prediction"
# Eleven columns are tested each month: at 1 in 500 each, chance alone raises an alarm in about one month of fifty.
P_VALUE = 0.002
SURE = 2.576  # two-sided 99 % quantile of the normal distribution, in standard errors
FEWEST = 50  # deals of a month; fewer are too few to test


@dataclass(frozen=True, slots=True)
class ColumnDrift:
    name: str
    test: str
    statistic: float
    p_value: float
    threshold: float  # of the p-value: below it the column has drifted

    @property
    def drifted(self) -> bool:
        return self.p_value < self.threshold

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "test": self.test,
            "statistic": round(self.statistic, 4),
            "p_value": float(f"{self.p_value:.3g}"),
            "threshold": self.threshold,
            "drifted": self.drifted,
        }


@dataclass(frozen=True, slots=True)
class DataQuality:
    """Shares of the monitored cells; `score` is 1 if nothing is worse than in the reference."""

    missing: float
    missing_in_reference: float
    missing_added: dict[str, float]  # by column, above the reference, of the cells that must be filled in
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
    prediction_distance: float  # mean shift of the predictions (Wasserstein), in standard deviations of the reference's
    quality: DataQuality
    performance: Quality | None
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
    """Return the monitored columns and the prediction in plain types; unknown values are None or NaN."""
    columns: dict[str, Any] = {}
    for name, kind in WATCHED.items():
        if kind == "number":
            columns[name] = deals[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            known = deals[name].notna() & (deals[name] != UNKNOWN).fillna(False).astype(bool)
            columns[name] = deals[name].astype(str).astype(object).where(known, None)
    columns[PREDICTION] = deals[PREDICTION].to_numpy(dtype=np.float64)
    return pd.DataFrame(columns).reset_index(drop=True)


def same_shares(reference: pd.Series, current: pd.Series) -> tuple[float, float]:
    """Return statistic and p-value of a two-sample chi-square test: the reference counts as a sample too."""
    counts = pd.concat([reference.value_counts(), current.value_counts()], axis="columns").fillna(0)
    # With one category or an empty sample there is nothing to compare.
    if len(counts) < 2 or (counts.sum() == 0).any():
        return 0.0, 1.0
    found = stats.chi2_contingency(counts.to_numpy(), correction=False)
    return float(found.statistic), float(found.pvalue)


def same_distribution(reference: pd.Series, current: pd.Series) -> tuple[float, float]:
    """Return statistic and p-value of the two-sample Kolmogorov-Smirnov test."""
    known, seen = reference.dropna(), current.dropna()
    if known.empty or seen.empty:
        return 0.0, 1.0
    # Always asymptotic: scipy's default changes the method with the sample size, and months must be comparable.
    found = stats.ks_2samp(known, seen, method="asymp")
    return float(found.statistic), float(found.pvalue)


TESTS: dict[Kind, tuple[str, Callable[[pd.Series, pd.Series], tuple[float, float]]]] = {
    "category": ("chi-square of two samples", same_shares),
    "number": ("Kolmogorov-Smirnov", same_distribution),
}


def compare(
    reference: pd.DataFrame,
    current: pd.DataFrame,
    *,
    closed: pd.DataFrame,
    baseline: dict[str, Any],
    report: Callable[[float], None] = lambda share: None,
) -> Found:
    """Compare a month with the reference. Raises `TooFewDeals`.

    `closed`: deals of the month with prediction and outcome, not seen in training. `baseline`: the quality in the
    model's card. `report` receives the share that is done, from 0 to 1.
    """
    if len(current) < FEWEST:
        raise TooFewDeals(
            f"Only {len(current)} deals were engaged in that month, and {FEWEST} are needed: choose another."
        )
    # 1. Inputs: one test a column.
    was, now = observed(reference), observed(current)
    columns = []
    for name, kind in WATCHED.items():
        columns.append(_column(name, kind, was, now))
        report(len(columns) / (len(WATCHED) + 1))
    # 2. Predictions: a test, and a distance that says how large the shift is.
    prediction = _column(PREDICTION, "number", was, now)
    spread = float(was[PREDICTION].std()) or 1.0
    distance = float(stats.wasserstein_distance(was[PREDICTION], now[PREDICTION])) / spread
    # 3. Data quality, and the model's performance on closed deals.
    quality = _quality(was, now, _due(reference), _due(current))
    performance = _performance(closed)
    # 4. The values of the measures in `alert_levels.RULE`.
    values: dict[str, float | None] = {
        "dataset_drift_share": sum(column.drifted for column in columns) / len(columns),
        # A distance that the test attributes to chance is no drift.
        "prediction_drift": distance if prediction.drifted else 0.0,
        "missing_values_added": max(quality.missing_added.values()),
        "unseen_values_share": quality.unseen,
        "auc_lost": _auc_lost(performance, baseline),
        "calibration_gap": _calibration_gap(performance, baseline),
    }
    report(1.0)
    return Found(len(now), len(was), columns, prediction, distance, quality, performance, alert_levels.read(values))


def _column(name: str, kind: Kind, was: pd.DataFrame, now: pd.DataFrame) -> ColumnDrift:
    test, compare_samples = TESTS[kind]
    statistic, p_value = compare_samples(was[name], now[name])
    return ColumnDrift(name, test, statistic, p_value, P_VALUE)


def _due(deals: pd.DataFrame) -> pd.DataFrame:
    """Return which cells must be filled in: accounts only of closed deals, as the sales desk adds them at closing."""
    closed = deals["won"].notna().to_numpy(dtype=bool)
    return pd.DataFrame({name: closed if name in OF_THE_ACCOUNT else np.ones_like(closed) for name in WATCHED})


def _missing(deals: pd.DataFrame, due: pd.DataFrame, name: str) -> float:
    return float((deals[name].isna() & due[name]).sum() / max(int(due[name].sum()), 1))


def _quality(was: pd.DataFrame, now: pd.DataFrame, due_then: pd.DataFrame, due_now: pd.DataFrame) -> DataQuality:
    watched = list(WATCHED)
    unseen = 0
    for name, kind in WATCHED.items():
        known = was[name].dropna()
        if kind == "number":
            unseen += int(((now[name] < known.min()) | (now[name] > known.max())).sum())
        else:
            unseen += int((now[name].notna() & ~now[name].isin(set(known))).sum())
    return DataQuality(
        float(now[watched].isna().to_numpy().mean()),
        float(was[watched].isna().to_numpy().mean()),
        {name: max(0.0, _missing(now, due_now, name) - _missing(was, due_then, name)) for name in watched},
        unseen / now[watched].size,
    )


def _performance(closed: pd.DataFrame) -> Quality | None:
    """Return the quality of the predictions for closed deals; None if there are too few."""
    chances: Numbers = closed[PREDICTION].to_numpy(dtype=np.float64)
    won: Numbers = closed["won"].to_numpy(dtype=np.float64)
    return metrics.evaluate(chances, won) if metrics.enough(won) else None


def _auc_lost(performance: Quality | None, baseline: dict[str, Any]) -> float | None:
    if performance is None:
        return None
    # Both AUCs are estimates: subtract the margin of their difference, scaled from 95 % to 99 %.
    margins = (baseline["auc_high"] - baseline["auc"], performance.auc_high - performance.auc)
    return max(0.0, float(baseline["auc"]) - performance.auc - SURE / 1.96 * float(np.hypot(*margins)))


def _calibration_gap(performance: Quality | None, baseline: dict[str, Any]) -> float | None:
    """Return the gap between mean prediction and win rate beyond chance; the baseline's rate is an estimate as well."""
    if performance is None:
        return None
    rate = performance.win_rate
    chance = SURE * float(np.sqrt(rate * (1 - rate) * (1 / performance.deals + 1 / int(baseline["deals"]))))
    return max(0.0, abs(performance.mean_prediction - rate) - chance)
