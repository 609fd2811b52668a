"""Two-sample tests of a column: whether its values in a month differ from those of the reference."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

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


def same_shares(reference: pd.Series, current: pd.Series, weight: float = 1.0) -> tuple[float, float]:
    """Return statistic and p-value of a two-sample chi-square test: the reference counts as a sample too.

    `weight`: how many deals one of the reference stands for. It is more than 1 where the reference has exactly the
    shares of the deals that it was drawn from, so that its only error is theirs.
    """
    counts = pd.concat([reference.value_counts() * weight, current.value_counts()], axis="columns").fillna(0)
    # With one category or an empty sample there is nothing to compare.
    if len(counts) < 2 or (counts.sum() == 0).any():
        return 0.0, 1.0
    found = stats.chi2_contingency(counts.to_numpy(), correction=False)
    return float(found.statistic), float(found.pvalue)


def same_distribution(reference: pd.Series, current: pd.Series, weight: float = 1.0) -> tuple[float, float]:
    """Return statistic and p-value of the two-sample Kolmogorov-Smirnov test; `weight` as above."""
    known, seen = reference.dropna(), current.dropna()
    if known.empty or seen.empty:
        return 0.0, 1.0
    # Always asymptotic: scipy's default changes the method with the sample size, and months must be comparable.
    found = stats.ks_2samp(known, seen, method="asymp")
    if weight == 1:
        return float(found.statistic), float(found.pvalue)
    size = 1 / (1 / (weight * len(known)) + 1 / len(seen))
    return float(found.statistic), float(stats.kstwo.sf(found.statistic, round(size)))


TESTS: dict[Kind, tuple[str, Callable[[pd.Series, pd.Series, float], tuple[float, float]]]] = {
    "category": ("chi-square of two samples", same_shares),
    "number": ("Kolmogorov-Smirnov", same_distribution),
}
