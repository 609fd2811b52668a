"""Encodes the features of deals as numbers, with categories and averages from training, stored in the model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Numbers = npt.NDArray[np.float64]

# Not among them: the calendar, counts and past win rates. They change with time by their nature, so a model would use
# them as a clock and every month would seem to drift; measured, they add nothing to agent, product and sector.
# Open deals lack their account far more often than closed ones, so an unknown account must look like an average one.
CATEGORIES = ("product", "sector", "sales_agent", "manager", "regional_office")
AMOUNTS = ("sales_price", "revenue", "employees")  # long-tailed: taken as logarithms
FLAGS = ("is_domestic", "is_subsidiary")
USED = (*CATEGORIES, *AMOUNTS, *FLAGS)
UNKNOWN = "unknown"
RARE = 10  # categories with fewer deals are not learned


@dataclass(frozen=True, slots=True)
class Encoder:
    categories: dict[str, list[str]]
    centres: dict[str, float]
    spreads: dict[str, float]

    @property
    def columns(self) -> list[str]:
        """Sorted by name: a model that was stored and read again must use the same order."""
        categories = [f"{name} = {value}" for name, seen in sorted(self.categories.items()) for value in seen]
        return [*categories, *sorted(self.centres)]

    def __call__(self, deals: pd.DataFrame) -> Numbers:
        """Return one row per deal; an unseen category is zero in all columns, a missing number is the average."""
        parts = [
            (deals[name].to_numpy(dtype=object)[:, None] == np.array(seen, dtype=object)[None, :]).astype(np.float64)
            for name, seen in sorted(self.categories.items())
        ]
        for name, centre in sorted(self.centres.items()):
            scaled = (_number(deals, name) - centre) / self.spreads[name]
            parts.append(np.nan_to_num(scaled, nan=0.0)[:, None])
        return np.hstack(parts)

    def as_json(self) -> dict[str, Any]:
        return {"categories": self.categories, "centres": self.centres, "spreads": self.spreads}


def fit(deals: pd.DataFrame) -> Encoder:
    """Learn the categories, and the mean and spread of the numbers, from deals."""
    categories: dict[str, list[str]] = {}
    for name in CATEGORIES:
        counts = deals[name].value_counts()
        categories[name] = sorted(str(value) for value, seen in counts.items() if seen >= RARE and value != UNKNOWN)
    centres, spreads = {}, {}
    for name in (*AMOUNTS, *FLAGS):
        known = _number(deals, name)
        known = known[~np.isnan(known)]
        spread = float(known.std()) if len(known) else 0.0
        centres[name] = float(known.mean()) if len(known) else 0.0
        # A constant column would be divided by zero.
        spreads[name] = spread if spread > 1e-9 else 1.0
    return Encoder(categories, centres, spreads)


def _number(deals: pd.DataFrame, name: str) -> Numbers:
    values: Numbers = np.asarray(deals[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan), np.float64)
    amounts: Numbers = np.log1p(np.maximum(values, 0.0)).astype(np.float64)
    return amounts if name in AMOUNTS else values
