"""Features: what was known of a deal on the day it was engaged.

Outcome, value and closing date of a deal are not features, nor is anything that happened on or after its engagement:
histories count only deals closed before. So the features of a deal are the same in every later month. Prospects have
no such date and no row.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pandas as pd

from flows.crm.snapshot import CLOSED
from flows.crm.table_schema import Columns, Kind, Tables, typed

HOME = "United States"
UNKNOWN = "unknown"
# Prior of a win rate: it starts at one half, and ten closed deals weigh as much as the prior.
PRIOR_WINS, PRIOR_DEALS = 5, 10
# Days are numbered from this one, which is before every date of a source, and there are fewer than DAYS of them.
DAY_ZERO, DAYS = pd.Timestamp("1900-01-01"), 2**20

KEYS: dict[str, Kind] = {"opportunity_id": "text", "engage_date": "date"}
FEATURES: dict[str, Kind] = {
    "product": "text",
    "series": "text",
    "sales_price": "number",
    "sector": "text",
    "revenue": "number",
    "employees": "whole",
    "account_age_years": "whole",
    "is_domestic": "flag",
    "is_subsidiary": "flag",
    "sales_agent": "text",
    "manager": "text",
    "regional_office": "text",
    "engage_month": "whole",
    "engage_weekday": "whole",
    "house_win_rate": "number",
    "agent_closed_deals": "whole",
    "agent_win_rate": "number",
    "agent_open_deals": "whole",
    "account_closed_deals": "whole",
    "account_win_rate": "number",
    "product_win_rate": "number",
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
            # Text needs a category for "not known"; flags and numbers stay missing, and the encoder uses the average.
            "sector": found["sector"].where(found["sector"].notna(), UNKNOWN),
            "revenue": found["revenue"],
            "employees": found["employees"],
            "account_age_years": deals["engage_date"].dt.year - found["year_established"],
            "is_domestic": (found["office_location"] == HOME).astype("boolean").where(known),
            "is_subsidiary": found["subsidiary_of"].notna().astype("boolean").where(known),
        }
    )


def _team(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    return _look_up(deals["sales_agent"], tables["sales_teams"].set_index("sales_agent"))


def _calendar(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    day = deals["engage_date"].dt
    return pd.DataFrame({"engage_month": day.month, "engage_weekday": day.weekday})


def _house_history(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    return pd.DataFrame({"house_win_rate": _win_rate(*_closed_before(deals, None))})


def _agent_history(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    wins, closed = _closed_before(deals, "sales_agent")
    # Open on that day = engaged before it, less closed before it.
    engaged = _count_before(deals, deals.assign(day=deals["engage_date"]), "sales_agent")["count"]
    return pd.DataFrame(
        {
            "agent_closed_deals": closed,
            "agent_win_rate": _win_rate(wins, closed),
            "agent_open_deals": engaged - closed,
        }
    )


def _account_history(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    wins, closed = _closed_before(deals, "account")
    return pd.DataFrame({"account_closed_deals": closed, "account_win_rate": _win_rate(wins, closed)})


def _product_history(deals: pd.DataFrame, tables: Tables) -> pd.DataFrame:
    return pd.DataFrame({"product_win_rate": _win_rate(*_closed_before(deals, "product"))})


GROUPS: dict[str, Callable[[pd.DataFrame, Tables], pd.DataFrame]] = {
    "product": _product,
    "account": _account,
    "team": _team,
    "calendar": _calendar,
    "win rate of the house": _house_history,
    "history of the agent": _agent_history,
    "history of the account": _account_history,
    "history of the product": _product_history,
}


def _look_up(names: pd.Series, known: pd.DataFrame) -> pd.DataFrame:
    return known.reindex(names).reset_index(drop=True)


def _win_rate(wins: pd.Series, closed: pd.Series) -> pd.Series:
    return (wins + PRIOR_WINS) / (closed + PRIOR_DEALS)


def _closed_before(deals: pd.DataFrame, by: str | None) -> tuple[pd.Series, pd.Series]:
    """Return for each deal how many of its group were won, and how many closed, before the day it was engaged."""
    closed = deals[deals["deal_stage"].isin(CLOSED)]
    before = _count_before(deals, closed.assign(day=closed["close_date"]), by)
    return before["wins"], before["count"]


def _count_before(deals: pd.DataFrame, events: pd.DataFrame, by: str | None) -> pd.DataFrame:
    """Return for each deal the totals of its group's events before the day of its engagement."""
    # 1. One number for group and day: in order, the events of a group before a day stand side by side.
    #    Those without a group or a day count for no deal.
    named = pd.concat([deals[by], events[by]]) if by else np.zeros(len(deals) + len(events))
    groups = pd.factorize(named)[0].astype("int64") * DAYS
    asked, happened = groups[: len(deals)], groups[len(deals) :]
    counted = (happened >= 0) & events["day"].notna().to_numpy()
    when = happened[counted] + _day_numbers(events["day"][counted])
    order = np.argsort(when, kind="stable")
    # 2. Running totals, from the group's first event to the last before the day: those of the day are not known yet.
    won = (events["deal_stage"] == "Won").to_numpy()[counted][order]
    wins = np.concatenate([[0], won.cumsum()])
    first, end = np.searchsorted(when[order], [asked, asked + _day_numbers(deals["engage_date"])])
    end = np.where(asked < 0, first, end)
    return pd.DataFrame({"wins": wins[end] - wins[first], "count": end - first})


def _day_numbers(days: pd.Series) -> npt.NDArray[np.int64]:
    return np.asarray((days - DAY_ZERO).dt.days, dtype=np.int64)
