"""Evidently's full report of a month against its reference: a program that reads two Parquet files and writes HTML.

Only the parts that compute and render are loaded. The parts that send telemetry are never imported.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.legacy.calculations.stattests import StatTest, register_stattest
from evidently.legacy.core import ColumnType
from evidently.metrics import ValueDrift
from evidently.presets import DataDriftPreset, DataSummaryPreset

from flows.crm.drift import PREDICTION, TESTS, WATCHED, Kind

# Evidently's own chi-square treats the reference as the population. Ours is a sample: with thirty agents in it, a month
# without any change got a p-value of one in a million. So Evidently uses the tests that decide the alert level.
METHODS: dict[Kind, str] = {"category": "two-sample-chi-square", "number": "two-sample-kolmogorov-smirnov"}
TYPES: dict[Kind, ColumnType] = {"category": ColumnType.Categorical, "number": ColumnType.Numerical}


def _register(kind: Kind) -> None:
    """Make the test of a kind of column available to Evidently under its own name."""
    title, compare_samples = TESTS[kind]

    def test(
        reference: pd.Series, current: pd.Series, feature_type: ColumnType, threshold: float
    ) -> tuple[float, bool]:
        p_value = compare_samples(reference, current)[1]
        return p_value, p_value < threshold

    register_stattest(StatTest(METHODS[kind], f"{title} p_value", [TYPES[kind]]), default_impl=test)


for _kind in METHODS:
    _register(_kind)


@dataclass(frozen=True, slots=True)
class FullReport:
    html: str
    p_values: dict[str, float]  # by column, as Evidently found them


def full_report(reference: pd.DataFrame, current: pd.DataFrame, threshold: float) -> FullReport:
    """Render the report of deals in the shape of `drift.observed`."""
    numbers = [*(name for name, kind in WATCHED.items() if kind == "number"), PREDICTION]
    categories = [name for name, kind in WATCHED.items() if kind == "category"]
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    report = Report(
        [
            DataDriftPreset(
                columns=list(WATCHED),
                num_method=METHODS["number"],
                cat_method=METHODS["category"],
                threshold=threshold,
            ),
            ValueDrift(column=PREDICTION, method=METHODS["number"], threshold=threshold),
            DataSummaryPreset(),
        ]
    )
    was, now = (Dataset.from_pandas(deals, definition) for deals in (reference, current))
    found = report.run(now, was)
    p_values = {
        metric["config"]["column"]: float(metric["value"])
        for metric in found.dict()["metrics"]
        if metric["metric_name"].startswith("ValueDrift(")
    }
    return FullReport(found.get_html_str(as_iframe=False), p_values)


def main(threshold: str) -> None:
    """Read three file names from standard input: reference, current, report. Without input, write no report."""
    if names := sys.stdin.read().splitlines():
        was, now = (pd.read_parquet(path) for path in names[:2])
        Path(names[2]).write_text(full_report(was, now, float(threshold)).html, encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
