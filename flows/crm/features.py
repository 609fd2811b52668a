"""Features: what was known of a deal on the day it was engaged.

Outcome, value and closing date of a deal are not features, nor is anything that happened on or after its engagement. So
the features of a deal are the same in every later month. Prospects have no such date and no row.
"""

from collections.abc import Callable

import pandas as pd

from flows.crm.snapshot import CLOSED
from flows.crm.table_schema import Columns, Kind, Tables, typed

HOME = "United States"
UNKNOWN = "unknown"

KEYS: dict[str, Kind] = {"opportunity_id": "text", "engage_date": "date"}
FEATURES: dict[str, Kind] = {
    "product": "text",
    "series": "text",
    "sales_price": "number",
    "sector": "text",
    "revenue": "number",
    "employees": "whole",
    "is_domestic": "flag",
    "is_subsidiary": "flag",
    "sales_agent": "text",
    "manager": "text",
    "regional_office": "text",
}
LABEL: dict[str, Kind] = {"won": "flag"}  # empty while the deal is open
COLUMNS: Columns = {**KEYS, **FEATURES, **LABEL}

Progress = Callable[[str, float], None]


def build(tables: Tables, report: Progress = lambda step, share: None) -> pd.DataFrame:
    """Return one row per engaged deal, from cleaned tables. `report` receives each group and the share done."""
    deals = tables["sales_pipeline"].dropna(subset=["engage_date"]).reset_index(drop=True)
    parts = [deals[[*KEYS, "product", "sales_agent"]]]
    for done, (name, group) in enumerate(GROUPS.items(), start=1):
        parts.append(group(deals, tables))
        report(name, done / len(GROUPS))
    # Missing and not False for open deals, so that training cannot learn from them as lost.
    won = (deals["deal_stage"] == "Won").astype("boolean").where(deals["deal_stage"].isin(CLOSED))
    return typed(COLUMNS, pd.concat([*parts, won.rename("won")], axis="columns"))


def _product(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    return _look_up(deals["product"], tables["products"].set_index("product")[["series", "sales_price"]])


def _account(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    found = _look_up(deals["account"], tables["accounts"].set_index("account"))
    known = deals["account"].notna()
    return pd.DataFrame(
        {
            # Text needs a category for "not known"; flags and numbers stay missing, and count as average.
            "sector": found["sector"].where(found["sector"].notna(), UNKNOWN),
            "revenue": found["revenue"],
            "employees": found["employees"],
            "is_domestic": (found["office_location"] == HOME).astype("boolean").where(known),
            "is_subsidiary": found["subsidiary_of"].notna().astype("boolean").where(known),
        }
    )


def _team(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    return _look_up(deals["sales_agent"], tables["sales_teams"].set_index("sales_agent"))


GROUPS: dict[str, Callable[[pd.DataFrame, Tables], pd.DataFrame]] = {
    "product": _product,
    "account": _account,
    "team": _team,
}


def _look_up(names: pd.Series, known: pd.DataFrame) -> pd.DataFrame:
    return known.reindex(names).reset_index(drop=True)
