"""Quality of predicted probabilities against outcomes, with confidence bounds."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.metrics import log_loss as mean_log_loss

from flows.crm.inputs import Numbers

FEWEST = 50  # closed deals; with fewer, a measure is noise
FEWEST_OF_A_KIND = 10  # won deals, and lost deals
TENTHS = 10
# How sure a finding has to be. Eleven columns are tested each month: at 1 in 500 each, chance alone raises an alarm in
# about one month of fifty.
P_VALUE = 0.002
SURE = 2.576  # two-sided 99% quantile of the normal distribution, in standard errors


@dataclass(frozen=True, slots=True)
class Quality:
    """Quality of predictions. `auc`: probability that a won deal is ranked above a lost one; 0.5 is guessing.

    `auc_low` and `auc_high` are its 95% bounds (Hanley and McNeil 1982).
    """

    deals: int
    win_rate: float
    mean_prediction: float
    auc: float
    auc_low: float
    auc_high: float
    accuracy: float  # at a threshold of 0.5
    log_loss: float
    brier: float
    calibration_error: float  # mean distance of prediction and win rate, over tenths of the deals

    def as_json(self) -> dict[str, Any]:
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(self).items()}


def enough(won: Numbers) -> bool:
    """Return whether there are enough deals of both outcomes to measure quality."""
    wins = int(won.sum())
    return len(won) >= FEWEST and min(wins, len(won) - wins) >= FEWEST_OF_A_KIND


def evaluate(chances: Numbers, won: Numbers) -> Quality:
    """Measure the predictions. Both outcomes must occur; see `enough`."""
    area = auc(chances, won)
    margin = 1.96 * _auc_error(area, int(won.sum()), int(len(won) - won.sum()))
    return Quality(
        deals=len(won),
        win_rate=float(won.mean()),
        mean_prediction=float(chances.mean()),
        auc=area,
        auc_low=max(0.0, area - margin),
        auc_high=min(1.0, area + margin),
        accuracy=float(((chances >= 0.5) == (won == 1)).mean()),
        log_loss=log_loss(chances, won),
        brier=float(brier_score_loss(won, chances)),
        calibration_error=_calibration_error(chances, won),
    )


def better_than_guessing(quality: Quality, base_rate_log_loss: float) -> bool:
    """Return whether predictions rank better than chance, and have a lower log loss than the base rate."""
    return quality.auc > 0.5 and quality.log_loss < base_rate_log_loss


def auc(chances: Numbers, won: Numbers) -> float:
    return float(roc_auc_score(won, chances))


def log_loss(chances: Numbers, won: Numbers) -> float:
    # Clipped: one confident mistake would otherwise outweigh thousands of deals.
    return float(mean_log_loss(won, np.clip(chances, 1e-6, 1 - 1e-6)))


def _auc_error(area: float, wins: int, losses: int) -> float:
    two_wins, two_losses = area / (2 - area), 2 * area**2 / (1 + area)
    spread = area * (1 - area) + (wins - 1) * (two_wins - area**2) + (losses - 1) * (two_losses - area**2)
    return math.sqrt(max(spread, 0.0) / (wins * losses))


def _calibration_error(chances: Numbers, won: Numbers) -> float:
    parts = np.array_split(np.argsort(chances, kind="stable"), TENTHS)
    return float(
        sum(len(part) * abs(chances[part].mean() - won[part].mean()) for part in parts if len(part)) / len(won)
    )
