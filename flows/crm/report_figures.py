"""Tables and drawings of the drift report, as HTML. Everything is escaped: names of the data may contain markup."""

from collections.abc import Iterable, Sequence
from html import escape
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from flows.crm import alert_levels
from flows.crm.column_tests import Kind

BARS = 20  # of the histogram of predictions
INTERVALS = 10  # of a number, each with about as many deals of the reference
STATISTICS = {"mean": "mean", "deviation": "std", "smallest": "min", "median": "median", "largest": "max"}
SHOWN = 12  # categories of a column; of the others only the number is given


def text(value: Any) -> str:
    return escape("not known" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value))


def level(name: str) -> str:
    return f'<b class="{text(name)}">{text(name)}</b>'


class Drawing(str):
    """HTML of this module, to be a cell as it is."""


def table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table: levels in colour, numbers aligned right."""

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    def cell(value: Any) -> str:
        if is_number(value):
            return f'<td class="number">{text(value)}</td>'
        if isinstance(value, Drawing):
            return f"<td>{value}</td>"
        return f'<td class="text">{level(value) if value in alert_levels.LEVELS else text(value)}</td>'

    lines = list(rows)
    # A column is aligned by its first row; without rows, by its header, which is text.
    right = [is_number(value) for value in (lines[0] if lines else heads)]
    head = "".join(
        f'<th scope="col"{" class=number" if stands else ""}>{text(name)}</th>'
        for name, stands in zip(heads, right, strict=True)
    )
    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in lines)
    return (
        f'<div class="wide"><table><caption>{text(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def legend() -> str:
    return (
        '<p class="soft"><svg viewBox="0 0 10 10" style="width:.8em" aria-hidden="true"><rect width="10" height="10" '
        'class="was"/></svg> reference <svg viewBox="0 0 10 10" style="width:.8em" aria-hidden="true">'
        '<rect width="10" height="10" class="now"/></svg> this month; share of deals</p>'
    )


def histogram(was: pd.Series, now: pd.Series) -> str:
    # Fixed edges from 0 to 1, so that the histograms of two months can be compared.
    edges = np.linspace(0, 1, BARS + 1)
    shares = [np.histogram(part, edges)[0] / max(len(part), 1) for part in (was, now)]
    top = max(float(share.max()) for share in shares) or 1.0
    width = 600 / BARS
    bars = "".join(
        f'<rect class="{name}" x="{place * width + offset:.1f}" y="{130 - 120 * value / top:.1f}" '
        f'width="{width / 2 - 1:.1f}" height="{120 * value / top:.1f}"/>'
        for share, name, offset in zip(shares, ("was", "now"), (0, width / 2), strict=True)
        for place, value in enumerate(share)
    )
    marks = "".join(
        f'<text x="{600 * mark:.0f}" y="146" text-anchor="{anchor}">{mark:.0%}</text>'
        for mark, anchor in ((0, "start"), (0.5, "middle"), (1, "end"))
    )
    title = "Distribution of the predicted win probability in the reference and this month"
    return f'<svg viewBox="0 0 600 150" role="img"><title>{title}</title>{bars}{marks}</svg>'


def column(name: str, kind: Kind, was: pd.Series, now: pd.Series, *, is_drifted: bool) -> str:
    """Return the values of a column in the reference and in the month, unfolded if the column has drifted."""
    tables = [_summary(was, now), _intervals(name, was, now)] if kind == "number" else [_categories(name, was, now)]
    missing = f"{was.isna().mean():.1%} missing in the reference, {now.isna().mean():.1%} this month"
    return (
        f"<details{' open' if is_drifted else ''}><summary>{text(name)}{' (drifted)' if is_drifted else ''}</summary>"
        f'<p class="soft">{missing}.</p>{"".join(tables)}</details>'
    )


def _summary(was: pd.Series, now: pd.Series) -> str:
    rows = [
        [label, *("none" if part.isna().all() else _amount(getattr(part, statistic)()) for part in (was, now))]
        for label, statistic in STATISTICS.items()
    ]
    return table("Summary.", ["Statistic", "Reference", "This month"], rows)


def _amount(value: float) -> str:
    return f"{value:,.2f}".removesuffix(".00")


def _intervals(name: str, was: pd.Series, now: pd.Series) -> str:
    """Return the shares of intervals with equal parts of the reference: amounts are too skewed for equal widths."""
    if was.dropna().empty:
        return ""
    inner = np.unique(np.quantile(was.dropna(), np.linspace(0, 1, INTERVALS + 1)[1:-1]))
    places = [pd.Series(np.searchsorted(inner, part.dropna(), side="left")) for part in (was, now)]
    labels = [f"up to {_amount(inner[0])}"]
    labels += [f"above {_amount(low)}, up to {_amount(high)}" for low, high in pairwise(inner)]
    labels.append(f"above {_amount(inner[-1])}")
    shares = [part.value_counts(normalize=True).reindex(range(len(labels)), fill_value=0.0) for part in places]
    return _shares(f"Shares by {name}.", name, labels, *shares)


def _categories(name: str, was: pd.Series, now: pd.Series) -> str:
    found = pd.concat([was.value_counts(normalize=True), now.value_counts(normalize=True)], axis="columns").fillna(0)
    found.columns = pd.Index(["was", "now"])
    # The categories that changed most; rare ones would fill the page.
    moved = found.assign(moved=(found["now"] - found["was"]).abs()).sort_values("moved", ascending=False).head(SHOWN)
    more = f", the {SHOWN} of {len(found)} that changed most" if len(found) > SHOWN else ""
    return _shares(f"Shares by {name}{more}.", name, [str(value) for value in moved.index], moved["was"], moved["now"])


def _shares(caption: str, name: str, labels: Sequence[str], was: Iterable[float], now: Iterable[float]) -> str:
    rows = list(zip(labels, was, now, strict=True))
    top = max((max(row[1:]) for row in rows), default=0.0) or 1.0
    return table(
        caption,
        [name, "Reference", "This month", ""],
        [[label, f"{then:.1%}", f"{here:.1%}", _bars(then / top, here / top)] for label, then, here in rows],
    )


def _bars(was: float, now: float) -> Drawing:
    # Hidden from screen readers: the numbers stand beside them.
    bars = "".join(
        f'<rect class="{name}" y="{y}" width="{100 * share:.1f}" height="6"/>'
        for name, y, share in (("was", 0, was), ("now", 7, now))
    )
    return Drawing(f'<svg class="bars" viewBox="0 0 100 13" aria-hidden="true">{bars}</svg>')
