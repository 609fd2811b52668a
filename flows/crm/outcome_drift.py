"""Outcomes against predictions: whether deals of a month were won more or less often than such deals were before.

The residual of a closed deal is its outcome (1 or 0) less its prediction. Without drift the residuals of a month have
the mean that those of earlier deals have, among all deals and in every segment, and are no more or less related to the
prediction. The variance of a residual is that of an outcome with the predicted probability.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from flows.crm import metrics, months
from flows.crm.column_tests import ColumnDrift
from flows.crm.inputs import CATEGORIES, UNKNOWN, Numbers
from flows.crm.metrics import SURE

Rows = npt.NDArray[np.intp]

# How sure a finding by segment has to be, for all columns together: each gets an equal part (Bonferroni).
P_SEGMENTS = 0.01
FEWEST_IN_SEGMENT = 10  # closed deals on both sides; of fewer, sums are not close to normal
TEST = "chi-square of residuals by segment"


@dataclass(frozen=True, slots=True)
class Closed:
    """Closed deals: what each adds to the tests."""

    deals: pd.DataFrame
    scores: Numbers  # one row a deal: the residual, and the residual times the centred log-odds
    weights: Numbers  # one row a deal: 1 and the centred log-odds
    variances: Numbers  # of the residuals


@dataclass(frozen=True, slots=True)
class OutcomeDrift:
    """Changes since the earlier deals. `gap` is that of win rate less mean prediction, `segments` that by segment."""

    gap: tuple[float | None, float | None]  # measured, and what of it is beyond chance
    segments: tuple[float | None, float | None]
    columns: list[ColumnDrift]


def compare(earlier: pd.DataFrame, closed: pd.DataFrame) -> OutcomeDrift:
    """Compare the deals closed in a month with those closed before, both with `won` and the prediction."""
    if not all(metrics.enough(_outcomes(deals)) for deals in (earlier, closed)):
        return OutcomeDrift((None, None), (None, None), [])
    centre = float(_log_odds(earlier).mean())
    was, now = _closed(earlier, centre), _closed(closed, centre)
    # 1. All deals together: the mean of the residuals.
    gap = abs(float(now.scores[:, 0].mean() - was.scores[:, 0].mean()))
    error = float(np.sqrt(sum(part.variances.mean() / len(part.variances) for part in (was, now))))
    # 2. By segment: mean and slope, summed over the segments of a column.
    columns, changes = [], {}
    for name in CATEGORIES:
        statistic, freedom, changes[name] = _by_segment(was, now, name)
        p_value = float(stats.chi2.sf(statistic, freedom)) if freedom else 1.0
        columns.append(ColumnDrift(name, TEST, statistic, p_value, P_SEGMENTS / len(CATEGORIES)))
    # The column that speaks most clearly stands for the others: their segments overlap.
    clearest = min(columns, key=lambda column: column.p_value)
    change = changes[clearest.name]
    return OutcomeDrift(
        (gap, gap if gap > SURE * error else 0.0), (change, change if clearest.drifted else 0.0), columns
    )


def since_learning(closed: pd.DataFrame, learned_until: pd.Timestamp, reference_period: str) -> pd.DataFrame:
    """Return the closed deals from which the model did not learn, up to the month of the reference.

    They include those that its calibration used. That makes their mean residual zero, and the test below exact: the
    error of the calibration and that of the residuals after it add up to that of one sample of both.
    """
    days = closed["close_date"]
    return closed[(days > learned_until) & (days <= pd.Timestamp(months.last_day(reference_period)))]


def _outcomes(deals: pd.DataFrame) -> Numbers:
    return deals["won"].to_numpy(dtype=np.float64)


def _chances(deals: pd.DataFrame) -> Numbers:
    # Clipped: an outcome against a certain prediction would outweigh all others.
    found: Numbers = np.clip(deals["prediction"].to_numpy(dtype=np.float64), 0.01, 0.99)
    return found


def _log_odds(deals: pd.DataFrame) -> Numbers:
    chances = _chances(deals)
    found: Numbers = np.log(chances / (1 - chances))
    return found


def _closed(deals: pd.DataFrame, centre: float) -> Closed:
    chances = _chances(deals)
    weights = np.column_stack([np.ones(len(deals)), _log_odds(deals) - centre])
    residuals = _outcomes(deals) - chances
    return Closed(deals, weights * residuals[:, None], weights, chances * (1 - chances))


def _by_segment(was: Closed, now: Closed, name: str) -> tuple[float, int, float]:
    """Return the sum of the statistics of all segments, its degrees of freedom, and how large the change is.

    The size is the root mean square of the changes of the win probability. The degrees of freedom are taken off first:
    they are what the statistic is on average without a change.
    """
    statistic, freedom, before, here = 0.0, 0, 0, 0
    rows_was, rows_now = (_rows_by_segment(part.deals, name) for part in (was, now))
    for segment in sorted(set(rows_was) & set(rows_now) - {UNKNOWN}):
        parts = ((was, rows_was[segment]), (now, rows_now[segment]))
        if min(len(rows) for _, rows in parts) < FEWEST_IN_SEGMENT:
            continue
        found, rank = _difference(parts)
        statistic, freedom = statistic + found, freedom + rank
        before, here = before + len(rows_was[segment]), here + len(rows_now[segment])
    if not freedom:
        return 0.0, 0, 0.0
    excess = max(0.0, statistic - freedom) * (1 / before + 1 / here)
    return statistic, freedom, float(np.sqrt(excess * now.variances.mean()))


def _rows_by_segment(deals: pd.DataFrame, name: str) -> dict[str, Rows]:
    return {str(segment): np.asarray(rows, dtype=np.intp) for segment, rows in deals.groupby(name).indices.items()}


def _difference(parts: Iterable[tuple[Closed, Rows]]) -> tuple[float, int]:
    """Return the squared standardised difference of the mean scores, and its degrees of freedom (score test)."""
    means, covariance = [], np.zeros((2, 2))
    for closed, rows in parts:
        weights, variances = closed.weights[rows], closed.variances[rows]
        means.append(closed.scores[rows].mean(axis=0))
        covariance += (weights * variances[:, None]).T @ weights / len(weights) ** 2
    values, vectors = np.linalg.eigh(covariance)
    # Where all predictions are the same there is no slope to compare.
    known = values > 1e-9 * values.max()
    along = (vectors.T @ (means[1] - means[0]))[known]
    return float((along**2 / values[known]).sum()), int(known.sum())
