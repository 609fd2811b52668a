"""What a model sees of a deal, as numbers: codes of categories, logarithms of amounts, flags; NaN if unknown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Numbers = npt.NDArray[np.float64]

CATEGORIES = ("product", "sector", "sales_agent", "manager", "regional_office")
AMOUNTS = ("sales_price", "revenue", "employees")  # long-tailed: taken as logarithms
FLAGS = ("is_domestic", "is_subsidiary")
USED = (*CATEGORIES, *AMOUNTS, *FLAGS)
OF_THE_ACCOUNT = ("sector", "revenue", "employees", "is_domestic", "is_subsidiary")
ACCOUNT = [USED.index(name) for name in OF_THE_ACCOUNT]
UNKNOWN = "unknown"
RARE = 10  # deals; a category with fewer counts as unknown
MOST = 250  # categories of a column, the most frequent ones: boosted trees have room for 255
# Share of the deals whose account is hidden from the trees, so that they learn what a deal is like on average.
HIDDEN = 0.25


@dataclass(frozen=True, slots=True)
class Inputs:
    """Turns deals into a matrix, one column for each name in `USED`; `categories` give the codes."""

    categories: dict[str, list[str]]

    def __call__(self, deals: pd.DataFrame) -> Numbers:
        matrix = np.empty((len(deals), len(USED)))
        for column, name in enumerate(USED):
            if name in self.categories:
                codes = pd.Index(self.categories[name]).get_indexer(pd.Index(deals[name]))
                matrix[:, column] = np.where(codes < 0, np.nan, codes)
            else:
                values = deals[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
                matrix[:, column] = np.log1p(np.maximum(values, 0.0)) if name in AMOUNTS else values
        return matrix

    def as_json(self) -> dict[str, Any]:
        return {"categories": self.categories}


def fit(deals: pd.DataFrame) -> Inputs:
    """Learn the categories from deals."""
    categories: dict[str, list[str]] = {}
    for name in CATEGORIES:
        counts = deals.loc[deals[name] != UNKNOWN, name].value_counts()
        categories[name] = sorted(str(value) for value in counts[counts >= RARE].index[:MOST])
    return Inputs(categories)


# The two functions below keep a model from learning that an account is unknown. The sales desk may fill in the account
# when a deal is won and leave it empty when it is lost; a mark for "unknown" would then give the outcome away.
def fill(matrix: Numbers) -> Numbers:
    """Return the matrix with unknown values replaced by those of other deals, drawn at random."""
    draws, filled = np.random.default_rng(0), matrix.copy()
    # 1. Deals without an account get that of another deal, as a whole: its columns belong together.
    lacking = np.isnan(matrix[:, ACCOUNT]).all(axis=1)
    donors = np.flatnonzero(~lacking)
    if len(donors):
        filled[np.ix_(lacking, ACCOUNT)] = matrix[np.ix_(draws.choice(donors, int(lacking.sum())), ACCOUNT)]
    # 2. What is still unknown, such as a rare category, column by column.
    for column in filled.T:
        gaps = np.isnan(column)
        if gaps.any():
            # 0, if no deal has a value: scikit-learn refuses empty columns.
            column[gaps] = 0.0 if gaps.all() else draws.choice(column[~gaps], int(gaps.sum()))
    return filled


def hide(matrix: Numbers) -> Numbers:
    """Return the matrix without the account of a random share of the deals, whatever became of them."""
    hidden = matrix.copy()
    hidden[np.ix_(np.random.default_rng(1).random(len(matrix)) < HIDDEN, ACCOUNT)] = np.nan
    return hidden
