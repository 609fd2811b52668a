"""Snapshots: the tables as they were on a day, without anything later."""

from datetime import date

import pandas as pd

from flows.crm.failures import BadSource
from flows.crm.months import month_of
from flows.crm.table_schema import SHAPES, Tables

CLOSED = ("Won", "Lost")
OPEN = ("Prospecting", "Engaging")


def as_of(tables: Tables, day: date) -> Tables:
    """Return the tables as of the end of the day.

    Deals engaged later are left out; deals closed later are still open. A deal without engage_date (a prospect) has no
    date at all, and is included on every day. Rows are sorted by identifier: the order of the source does not matter.
    """
    end = pd.Timestamp(day)
    deals = tables["sales_pipeline"]
    # "Not later" instead of "earlier": any comparison is false for prospects, which have no date and must stay.
    seen = deals[~(deals["engage_date"] > end)].copy()
    closed_later = seen["close_date"] > end
    seen.loc[closed_later, "deal_stage"] = "Engaging"
    seen.loc[closed_later, "close_date"] = pd.NaT
    # Sources write 0 for some open deals: if it stayed, an empty value would reveal which deals close later.
    seen.loc[closed_later | seen["deal_stage"].isin(OPEN), "close_value"] = float("nan")
    known = {**tables, "sales_pipeline": seen}
    return {
        name: known[name].sort_values(shape.identifier, ignore_index=True, kind="stable")
        for name, shape in SHAPES.items()
    }


def span(tables: Tables) -> tuple[str, str]:
    """Return the first and the last month with a date of any deal."""
    deals = tables["sales_pipeline"]
    engaged, closed = deals["engage_date"].dropna(), deals["close_date"].dropna()
    if engaged.empty:
        raise BadSource("sales_pipeline has no engage_date in any row: without dates there is no month to take.")
    last = max([engaged.max(), *closed.nlargest(1)])
    return month_of(engaged.min().date()), month_of(last.date())
