"""How often each value of a monitored column occurs among the deals of a reference: later months are tested against it.

The counts are of all deals that the reference was drawn from. Its sample of 1,000 deals would limit what a test of a
larger month can find: at 5,000 deals a month most of the error of the difference would be that of the sample.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from flows.crm.column_tests import Kind
from flows.crm.failures import BadLake
from flows.crm.features import FEATURES, UNKNOWN
from flows.crm.table_schema import Columns, Tables, typed

# Monitored columns: every feature.
WATCHED: dict[str, Kind] = {
    name: "number" if kind in ("number", "whole") else "category" for name, kind in FEATURES.items()
}
TABLE = "counts"  # the table beside a stored sample
COLUMNS: Columns = {"column": "text", "category": "text", "number": "number", "deals": "whole"}

Counts = Mapping[str, pd.Series]  # by column: the number of deals by value, without unknown values


def observed(deals: pd.DataFrame) -> pd.DataFrame:
    """Return the monitored columns in plain types; unknown values are None or NaN."""
    columns: dict[str, Any] = {}
    for name, kind in WATCHED.items():
        if kind == "number":
            columns[name] = deals[name].astype("Float64").to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            known = deals[name].notna() & (deals[name] != UNKNOWN).fillna(False).astype(bool)
            columns[name] = deals[name].astype(str).astype(object).where(known, None)
    return pd.DataFrame(columns, index=deals.index).reset_index(drop=True)


def count(deals: pd.DataFrame) -> Counts:
    values = observed(deals)
    return {name: values[name].value_counts().sort_index() for name in WATCHED}


def as_table(counts: Counts) -> pd.DataFrame:
    """Return the counts as one table, a row for each value of each column; the inverse of `from_tables`."""
    rows: list[pd.DataFrame] = []
    for name, kind in WATCHED.items():
        values: dict[str, Any] = {"column": name, "category": None, "number": np.nan, "deals": counts[name].to_numpy()}
        rows.append(pd.DataFrame({**values, kind: counts[name].index}))
    return typed(COLUMNS, pd.concat(rows, ignore_index=True))


def from_tables(tables: Tables, month: str) -> Counts:
    """Return the counts of a stored reference. Raises `BadLake` for one that was created without them."""
    if TABLE not in tables:
        raise BadLake(
            f"The reference of {month} does not count the values of its columns: "
            f"create the reference data of {month} again."
        )
    rows = tables[TABLE]
    parts = {name: rows[rows["column"] == name] for name in WATCHED}
    return {
        name: pd.Series(parts[name]["deals"].to_numpy(dtype=np.int64), index=pd.Index(parts[name][kind]))
        for name, kind in WATCHED.items()
    }
