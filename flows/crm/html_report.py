"""The drift of a month as one small HTML page: no scripts, no external resources, light and dark mode."""

from collections.abc import Sequence

import pandas as pd

from flows.crm.column_counts import WATCHED
from flows.crm.drift import PREDICTION, observed
from flows.crm.report_figures import column, histogram, legend, level, table, text
from flows.crm.results import Result

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
details { margin-bottom: .5rem } summary { cursor: pointer }
svg { width: 100%; height: auto; max-width: 40rem } svg.bars { width: 8rem; vertical-align: middle }
svg text { font: 11px system-ui, sans-serif; fill: var(--ink) }
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
        f"<h1>{text(title)}</h1>",
        f"<p>Level {level(result['alert_level'])}. {text(result['recommendations'][0]['text'])}</p>",
        f'<p class="soft">{result["deals"]} deals engaged in {text(result["current_month"])}, against '
        f"{result['reference_deals']} deals of the reference; predictions of the model "
        f"{text(result['model_version'])}.</p>",
        "<h2>Measures</h2>",
        _measures(result),
        *_advice(result),
        "<h2>Predictions</h2>",
        legend(),
        f'<p class="soft">Of {result["predictions"]} deals of this month whose account is known, and of such deals of '
        "the reference.</p>",
        histogram(was[PREDICTION].dropna(), now[PREDICTION].dropna()),
        "<h2>Columns</h2>",
        _columns(result),
        *(column(name, kind, was[name], now[name], is_drifted=name in drifted) for name, kind in WATCHED.items()),
        "<h2>Performance</h2>",
        _performance(result),
        _tests(
            "Outcomes against predictions, by the segments of a column: whether deals are won as often as before.",
            result["outcome_tests"],
        ),
        "<h2>By month</h2>",
        _history(history),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _measures(result: Result) -> str:
    limits = {row["measure"]: row for row in result["thresholds"]}
    rows = [
        [
            m["title"],
            m["measured"],
            m["value"],
            m["level"],
            *(limits[m["measure"]][name] for name in ("low", "medium", "high")),
        ]
        for m in result["measures"]
    ]
    return table(
        "The level of the month is the highest level of its measures.",
        ["Measure", "Measured", "Beyond chance", "Level", "Low from", "Medium from", "High from"],
        rows,
    )


def _advice(result: Result) -> list[str]:
    items = "".join(f"<li>{level(row['level'])} {text(row['text'])}</li>" for row in result["recommendations"][1:])
    return [f"<h2>Recommendations</h2><ul>{items}</ul>"] if items else []


def _columns(result: Result) -> str:
    return _tests(
        "A column has drifted if its p-value is below the threshold. Tested against all deals that the reference is a "
        "sample of; drawn below is the sample.",
        result["columns"],
    )


def _tests(caption: str, columns: Sequence[Result]) -> str:
    rows = [
        [c["name"], "drifted" if c["drifted"] else "no drift", c["test"], c["statistic"], c["p_value"], c["threshold"]]
        for c in columns
    ]
    return table(caption, ["Column", "Finding", "Test", "Statistic", "P value", "Threshold"], rows)


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
    return table("Deals not seen in training.", heads, rows)


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
    return table("All monitored months.", list(names.values()), rows)
