"""Activity of the sales desk in a month, against the months up to the reference: new deals, pace of closing, value."""

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from flows.crm import months
from flows.crm.metrics import P_VALUE, SURE
from flows.crm.table_schema import Tables

Counts = npt.NDArray[np.int64]

RECENT = 3  # months whose new deals are the usual number
EVER = date(1900, 1, 1)  # before all deals
FEWEST_EXPECTED = 20  # closings; with fewer, the pace is not known
FEWEST_WON = 30  # won deals on both sides; with fewer, the change of value is not known


@dataclass(frozen=True, slots=True)
class Change:
    """A change as measured, and the part of it that is more than chance; None if it is not known."""

    measured: float | None = None
    beyond_chance: float | None = None


@dataclass(frozen=True, slots=True)
class Activity:
    new_deals: int
    usual_new_deals: float | None
    closings: int
    expected_closings: float | None
    value_of_price: float | None  # median of the won value, as a share of the list price
    usual_value_of_price: float | None
    volume: Change
    pace: Change
    value: Change

    def as_json(self) -> dict[str, Any]:
        found = {name: value for name, value in asdict(self).items() if not isinstance(value, dict)}
        return {name: round(value, 4) if isinstance(value, float) else value for name, value in found.items()}


@dataclass(frozen=True, slots=True)
class Risk:
    """Days that deals were open in a period, and closings in it, by the age of the deal in days."""

    open_days: Counts
    closings: Counts


def measure(tables: Tables, month: str, reference_period: str) -> Activity:
    """Compare the processed tables of a month with the months up to the reference."""
    deals = tables["sales_pipeline"].dropna(subset=["engage_date"])
    first, last = months.last_day(month).replace(day=1), months.last_day(month)
    until = months.last_day(reference_period)
    # 1. New deals.
    new = int(_within(deals["engage_date"], first, last).sum())
    usual = _usual_new_deals(deals, reference_period)
    # 2. Closings, against those that deals of the same age had before. Days to close would mislead: in a young table
    #    no deal has had the time to take long.
    now, before = _risk(deals, first, last), _risk(deals, EVER, until)
    closings, expected, pace = _pace(now, before)
    # 3. Won values, as shares of the list price, so that they do not depend on what was sold.
    was_won, now_won = (_shares_of_price(tables, *period) for period in ((EVER, until), (first, last)))
    enough = min(len(was_won), len(now_won)) >= FEWEST_WON
    return Activity(
        new,
        usual,
        closings,
        expected,
        float(now_won.median()) if enough else None,
        float(was_won.median()) if enough else None,
        _volume(new, usual),
        pace,
        _value(was_won, now_won) if enough else Change(),
    )


def _within(days: pd.Series, first: date, last: date) -> pd.Series:
    found: pd.Series = (days >= pd.Timestamp(first)) & (days <= pd.Timestamp(last))
    return found


def _usual_new_deals(deals: pd.DataFrame, reference_period: str) -> float | None:
    by_month = deals["engage_date"].dt.to_period("M").value_counts().sort_index()
    recent = by_month[by_month.index <= pd.Period(reference_period)].tail(RECENT)
    return float(recent.median()) if len(recent) == RECENT else None


def _volume(new: int, usual: float | None) -> Change:
    """Return how many times as many, or as few, less one: 1 is twice or half the usual number."""
    if usual is None:
        return Change()
    change = max(new, usual) / max(min(new, usual), 1) - 1
    return Change(change, change)


def _risk(deals: pd.DataFrame, first: date, last: date) -> Risk:
    start, end = np.datetime64(first, "D"), np.datetime64(last, "D")
    engaged = deals["engage_date"].to_numpy(dtype="datetime64[D]")
    closed = deals["close_date"].to_numpy(dtype="datetime64[D]")
    left = np.where(np.isnat(closed) | (closed > end), end, closed)
    here = (engaged <= end) & (left >= start)
    entry, leaving = ((moment[here] - engaged[here]).astype(np.int64) for moment in (np.maximum(engaged, start), left))
    size = int(leaving.max(initial=0)) + 2
    # A deal adds one from the age at which it comes in to the age at which it leaves.
    open_days = np.cumsum(np.bincount(entry, minlength=size) - np.bincount(leaving + 1, minlength=size))
    return Risk(open_days, np.bincount(leaving[(closed <= end)[here]], minlength=size))


def _pace(now: Risk, before: Risk) -> tuple[int, float | None, Change]:
    """Return the closings, those expected at the former rates by age, and the change."""
    closings = int(now.closings.sum())
    # Only ages that occurred before: for the others no rate is known.
    size = min(len(now.open_days), len(before.open_days))
    known = before.open_days[:size] > 0
    open_now, open_before = now.open_days[:size][known], before.open_days[:size][known]
    rates = before.closings[:size][known] / open_before
    expected = float((open_now * rates).sum())
    if expected < FEWEST_EXPECTED:
        return closings, None, Change()
    change = abs(float(now.closings[:size][known].sum()) / expected - 1)
    # Both numbers vary by chance: the closings as a Poisson number, the rates as those of a sample.
    margin = SURE * float(np.sqrt(expected + (open_now**2 * rates / open_before).sum())) / expected
    return closings, expected, Change(change, max(0.0, change - margin))


def _shares_of_price(tables: Tables, first: date, last: date) -> pd.Series:
    deals = tables["sales_pipeline"]
    won = deals[(deals["deal_stage"] == "Won") & _within(deals["close_date"], first, last)]
    prices = won["product"].map(tables["products"].set_index("product")["sales_price"])
    shares: pd.Series = (won["close_value"] / prices.where(prices > 0)).dropna()
    return shares


def _value(was: pd.Series, now: pd.Series) -> Change:
    usual = float(was.median())
    if usual <= 0:
        return Change()
    change = abs(float(now.median()) / usual - 1)
    p_value = float(stats.ks_2samp(was, now, method="asymp").pvalue)
    return Change(change, change if p_value < P_VALUE else 0.0)
