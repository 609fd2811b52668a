"""Two-sample tests of a column: whether its values in a month differ from those of the reference."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

Kind = Literal["category", "number"]


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


def same_shares(reference: pd.Series, current: pd.Series) -> tuple[float, float]:
    """Return statistic and p-value of a two-sample chi-square test: the reference counts as a sample too."""
    counts = pd.concat([reference, current], axis="columns").fillna(0)
    # With one category or an empty sample there is nothing to compare.
    if len(counts) < 2 or (counts.sum() == 0).any():
        return 0.0, 1.0
    found = stats.chi2_contingency(counts.to_numpy(dtype=np.float64), correction=False)
    return float(found.statistic), float(found.pvalue)


def same_distribution(reference: pd.Series, current: pd.Series) -> tuple[float, float]:
    """Return statistic and p-value of the two-sample Kolmogorov-Smirnov test."""
    if reference.empty or current.empty:
        return 0.0, 1.0
    counts = pd.concat([reference, current], axis="columns").fillna(0).sort_index().to_numpy(dtype=np.float64)
    known, seen = counts.sum(axis=0)
    statistic = float(np.abs(np.diff(counts.cumsum(axis=0) / (known, seen), axis=1)).max())
    # Always asymptotic: scipy's default changes the method with the sample size, and months must be comparable.
    return statistic, float(stats.kstwo.sf(statistic, round(known * seen / (known + seen))))


# Compares the numbers of deals by value, without unknown values; the reference first.
Test = Callable[[pd.Series, pd.Series], tuple[float, float]]

TESTS: dict[Kind, tuple[str, Test]] = {
    "category": ("chi-square of two samples", same_shares),
    "number": ("Kolmogorov-Smirnov", same_distribution),
}
