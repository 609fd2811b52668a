"""What was known on a day: the tables as they stood then, without anything that came later."""

from datetime import date

import pandas as pd

from flows.crm.failures import BadSource
from flows.crm.months import month_of
from flows.crm.table_schema import SHAPES, Tables

CLOSED = ("Won", "Lost")
OPEN = ("Prospecting", "Engaging")


def as_of(tables: Tables, day: date) -> Tables:
    """The tables at the end of the day.

    Deals engaged later are unseen; deals closed later are still open. A deal without a date of engagement (a prospect)
    says nothing of when it came, and is seen on every day. Rows are ordered by identifier, so that the order of the
    source does not show.
    """
    end = pd.Timestamp(day)
    deals = tables["sales_pipeline"]
    seen = deals[~(deals["engage_date"] > end)].copy()
    closed_later = seen["close_date"] > end
    seen.loc[closed_later, "deal_stage"] = "Engaging"
    seen.loc[closed_later, "close_date"] = pd.NaT
    # Sources write a value of 0 for some open deals: were it kept, an empty one would tell which deals close later.
    seen.loc[closed_later | seen["deal_stage"].isin(OPEN), "close_value"] = float("nan")
    known = {**tables, "sales_pipeline": seen}
    return {
        name: known[name].sort_values(shape.identifier, ignore_index=True, kind="stable")
        for name, shape in SHAPES.items()
    }


def span(tables: Tables) -> tuple[str, str]:
    """The first and the last month of which the deals tell anything."""
    deals = tables["sales_pipeline"]
    engaged, closed = deals["engage_date"].dropna(), deals["close_date"].dropna()
    if engaged.empty:
        raise BadSource("sales_pipeline has no engage_date in any row: without dates there is no month to take.")
    last = max([engaged.max(), *closed.nlargest(1)])
    return month_of(engaged.min().date()), month_of(last.date())
