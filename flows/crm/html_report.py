"""The drift of a month as one small HTML page: no scripts, no external resources, light and dark mode."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd

from flows.crm import alert_levels
from flows.crm.drift import PREDICTION, WATCHED, observed
from flows.crm.results import Result

BARS = 20  # of the histogram
SHOWN = 12  # categories of a column; of the others only the number is given

STYLE = """
:root { color-scheme: light dark; --ink: #1f2937; --soft: #6b7280; --line: #e5e7eb; --paper: #fff; --was: #94a3b8;
  --now: #2563eb; --NONE: #15803d; --UNKNOWN: #6b7280; --LOW: #a16207; --MEDIUM: #c2410c; --HIGH: #b91c1c }
@media (prefers-color-scheme: dark) { :root { --ink: #e5e7eb; --soft: #9ca3af; --line: #374151; --paper: #111827;
  --was: #64748b; --now: #60a5fa; --NONE: #4ade80; --UNKNOWN: #9ca3af;
  --LOW: #facc15; --MEDIUM: #fb923c; --HIGH: #f87171 } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0 auto;
  padding: 1.5rem; max-width: 60rem }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem } p.soft, caption { color: var(--soft) }
div.wide { overflow-x: auto; margin-bottom: 1rem } table { border-collapse: collapse; width: 100% }
caption { text-align: left; padding-bottom: .3rem }
th, td { text-align: left; padding: .3rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap }
td.text { white-space: normal; min-width: 5.5rem }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums }
svg { width: 100%; height: auto; max-width: 40rem } svg text { font: 11px system-ui, sans-serif; fill: var(--ink) }
.was { fill: var(--was) } .now { fill: var(--now) } b.NONE { color: var(--NONE) } b.UNKNOWN { color: var(--UNKNOWN) }
b.LOW { color: var(--LOW) }
b.MEDIUM { color: var(--MEDIUM) } b.HIGH { color: var(--HIGH) }
"""


def page(result: Result, history: Sequence[Result], reference: pd.DataFrame, current: pd.DataFrame) -> str:
    was, now = observed(reference), observed(current)
    title = f"Drift of {result['current_month']} against {result['reference_period']}"
    drifted = [column["name"] for column in result["drifted_columns"]]
    # In the order of questions: how bad, why, what to do, then the details.
    body = [
        f"<h1>{_text(title)}</h1>",
        f"<p>Level {_level(result['alert_level'])}. {_text(result['recommendations'][0]['text'])}</p>",
        f'<p class="soft">{result["deals"]} deals engaged in {_text(result["current_month"])}, against '
        f"{result['reference_deals']} deals of the reference; predictions of the model "
        f"{_text(result['model_version'])}.</p>",
        "<h2>Measures</h2>",
        _measures(result),
        *_advice(result),
        "<h2>Predictions</h2>",
        _legend(),
        f'<p class="soft">Of {result["predictions"]} deals of this month whose account is known, and of such deals of '
        "the reference.</p>",
        _histogram(was[PREDICTION].dropna(), now[PREDICTION].dropna()),
        "<h2>Columns</h2>",
        _columns(result),
        *(_shares(name, was[name], now[name]) for name in drifted if WATCHED[name] == "category"),
        "<h2>Performance</h2>",
        _performance(result),
        "<h2>By month</h2>",
        _history(history),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _text(value: Any) -> str:
    # Everything is escaped: names of products and agents come from the source, and may contain markup.
    return escape("not known" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value))


def _level(level: str) -> str:
    return f'<b class="{_text(level)}">{_text(level)}</b>'


def _table(caption: str, heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Return a table: levels in colour, numbers aligned right. Every cell is escaped: values come from the source."""

    def is_number(value: Any) -> bool:
        return isinstance(value, int | float) and not isinstance(value, bool)

    def cell(value: Any) -> str:
        if is_number(value):
            return f'<td class="number">{_text(value)}</td>'
        shown = _level(value) if value in alert_levels.LEVELS else _text(value)
        return f'<td class="text">{shown}</td>'

    lines = list(rows)
    # A column is aligned by its first row; without rows, by its header, which is text.
    right = [is_number(value) for value in (lines[0] if lines else heads)]
    head = "".join(
        f'<th scope="col"{" class=number" if stands else ""}>{_text(name)}</th>'
        for name, stands in zip(heads, right, strict=True)
    )
    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in lines)
    return (
        f'<div class="wide"><table><caption>{_text(caption)}</caption><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _measures(result: Result) -> str:
    limits = {row["measure"]: row for row in result["thresholds"]}
    rows = [
        [
            m["title"],
            m["measured"],
            m["value"],
            m["level"],
            *(limits[m["measure"]][level] for level in ("low", "medium", "high")),
        ]
        for m in result["measures"]
    ]
    return _table(
        "The level of the month is the highest level of its measures.",
        ["Measure", "Measured", "Beyond chance", "Level", "Low from", "Medium from", "High from"],
        rows,
    )


def _advice(result: Result) -> list[str]:
    items = "".join(f"<li>{_level(row['level'])} {_text(row['text'])}</li>" for row in result["recommendations"][1:])
    return [f"<h2>Recommendations</h2><ul>{items}</ul>"] if items else []


def _columns(result: Result) -> str:
    rows = [
        [c["name"], "drifted" if c["drifted"] else "no drift", c["test"], c["statistic"], c["p_value"], c["threshold"]]
        for c in result["columns"]
    ]
    return _table(
        "A column has drifted if its p-value is below the threshold.",
        ["Column", "Finding", "Test", "Statistic", "P value", "Threshold"],
        rows,
    )


def _performance(result: Result) -> str:
    now, was = result["performance"], result["baseline"]
    if now is None:
        return '<p id="no-performance">Too few deals closed in this month to evaluate the predictions.</p>'
    rows = [
        [label, was[key], now[key]]
        for key, label in (
            ("deals", "deals"),
            ("auc", "AUC"),
            ("auc_low", "AUC, low"),
            ("auc_high", "AUC, high"),
            ("accuracy", "accuracy"),
            ("win_rate", "win rate"),
            ("mean_prediction", "mean prediction"),
        )
    ]
    heads = ["Measure", f"When trained, {was['month']}", f"Closed in {result['performance_month']}"]
    return _table("Deals not seen in training.", heads, rows)


def _history(history: Sequence[Result]) -> str:
    names = {
        "current_month": "Month",
        "reference_period": "Reference",
        "alert_level": "Level",
        "dataset_drift_share": "Drifted columns",
        "prediction_drift": "Prediction drift",
        "data_quality_score": "Data quality",
        "missing_values_share": "Missing",
        "auc": "AUC",
        "accuracy": "Accuracy",
        "model_version": "Model",
    }
    rows = [[month[name] for name in names] for month in history]
    return _table("All monitored months.", list(names.values()), rows)


def _legend() -> str:
    return (
        '<p class="soft"><svg viewBox="0 0 10 10" style="width:.8em" aria-hidden="true"><rect width="10" height="10" '
        'class="was"/></svg> reference <svg viewBox="0 0 10 10" style="width:.8em" aria-hidden="true">'
        '<rect width="10" height="10" class="now"/></svg> this month; share of deals</p>'
    )


def _histogram(was: pd.Series, now: pd.Series) -> str:
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


def _shares(name: str, was: pd.Series, now: pd.Series) -> str:
    table = pd.concat([was.value_counts(normalize=True), now.value_counts(normalize=True)], axis="columns").fillna(0)
    table.columns = pd.Index(["was", "now"])
    # The categories that changed most; rare ones would fill the page.
    moved = table.assign(moved=(table["now"] - table["was"]).abs()).sort_values("moved", ascending=False)
    rows = [[str(value), f"{row['was']:.1%}", f"{row['now']:.1%}"] for value, row in moved.head(SHOWN).iterrows()]
    more = f", the {SHOWN} of {len(moved)} that changed most" if len(moved) > SHOWN else ""
    return _table(f"Shares by {name}{more}.", [name, "Reference", "This month"], rows)
