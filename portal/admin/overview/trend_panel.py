"""How runs ended in the last day, week or month: a chart, rates and durations, and the deployments that stand out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.urls import reverse
from django.utils import formats, timezone
from django.utils.safestring import SafeString

from flows.models import Environment
from portal.ui import charts, sparklines, times
from portal.ui.run_links import Count, runs_url
from portal.ui.text import share
from runs import run_trends
from runs.run_trends import Slot, Totals
from runs.trend_sums import ENDS, FAILED, Range, Readable

# Value of `?range=` -> label, its hours or days
RANGES: dict[str, tuple[str, Callable[[], Range]]] = {
    "24h": ("24 h", lambda: run_trends.last_hours(24)),
    "7d": ("7 d", lambda: run_trends.last_days(7)),
    "30d": ("30 d", lambda: run_trends.last_days(30)),
}
USUAL = "24h"
# The stacked series of the chart, from below: label -> colour, Prefect's state types.
STACK = {
    "Completed": ("green", ["COMPLETED"]),
    "Failed or crashed": ("red", list(FAILED)),
    "Cancelled": ("grey", ["CANCELLED"]),
}
# Deployments in each ranking.
FEW = 3


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice of the range."""

    key: str
    label: str
    url: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class Measure:
    """A number, the runs behind it, how it was in the range before, and its course.

    `link` is the number itself where it is one of runs.
    """

    label: str
    text: str
    counts: list[tuple[Count, str]]
    before: str
    svg: SafeString
    link: Count | None = None


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row of the table twin: a slot, its numbers as in the chart, and its rate and durations as texts."""

    label: str
    counts: list[Count]
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Ranked:
    """A deployment in a ranking; `count` are the runs behind its place, `text` says more."""

    environment: Environment
    name: str
    count: Count
    text: str


@dataclass(frozen=True, slots=True)
class TrendPanel:
    """`svg` and `rows` are empty when nothing ended."""

    choices: list[Choice]
    label: str
    svg: SafeString
    legend: list[tuple[charts.Series, Count]]
    headings: list[str]
    rows: list[TableRow]
    measures: list[Measure]
    rankings: list[tuple[str, list[Ranked]]]
    failed: Count


def key_of(wanted: str) -> str:
    return wanted if wanted in RANGES else USUAL


def panel(readable: Readable, span: Range, key: str, environments: Mapping[str, Environment]) -> TrendPanel:
    """Build the panel from the counts that may be read, in one query."""
    trend = run_trends.trend(readable, span, first=FEW)
    label = RANGES[key][0]
    choices = [
        Choice(each, name, f"{reverse('admin:index')}?{urlencode({'range': each})}", each == key)
        for each, (name, _) in RANGES.items()
    ]
    failed = count_of("failed", trend.now.failed, span.begins, span.ends, *FAILED)
    if not trend.now.ended:
        return TrendPanel(choices, label, SafeString(), [], [], [], [], [], failed)
    labels = [slot_label(slot, span) for slot in trend.slots]
    series = [
        charts.Series(name, tone, tuple(number_of(slot.totals, states) for slot in trend.slots))
        for name, (tone, states) in STACK.items()
    ]
    return TrendPanel(
        choices,
        label,
        charts.stacked_bars(
            f"{trend.now.ended:,} runs ended in the last {label}, by time and state",
            labels,
            series,
            [runs_url(ended_from=slot.begins, ended_to=slot.ends, state=list(ENDS)) for slot in trend.slots],
        ),
        [(one, count_of(one.label.lower(), one.total, span.begins, span.ends, *STACK[one.label][1])) for one in series],
        [*STACK, "Success rate", "Median", "95th percentile"],
        [table_row(slot, name) for slot, name in zip(trend.slots, labels, strict=True)],
        measures(trend, span, labels, f"in the {label} before"),
        rankings(trend.deployments, span, environments),
        failed,
    )


def measures(trend: run_trends.Trend, span: Range, labels: list[str], before: str) -> list[Measure]:
    now = trend.now
    ended = count_of("ended", now.ended, span.begins, span.ends, *ENDS)
    ended_before = count_of("ended before", trend.before.ended, span.before, span.begins, *ENDS)
    completed = count_of("completed", now.completed, span.begins, span.ends, "COMPLETED")
    decided = count_of("decided", now.completed + now.failed, span.begins, span.ends, "COMPLETED", *FAILED)

    def measure(
        name: str,
        value: Callable[[Totals], float | None],
        text: Callable[[float | None], str],
        *counts: tuple[Count, str],
    ) -> Measure:
        values = [value(slot.totals) for slot in trend.slots]
        course = sparklines.sparkline(f"{name} over time", labels, values, [text(each) for each in values])
        was = value(trend.before)
        return Measure(name, text(value(now)), list(counts), "" if was is None else f"{text(was)} {before}", course)

    number = measure("Runs ended", lambda totals: totals.ended, whole, (ended_before, before))
    return [
        replace(number, link=ended, before=""),
        measure("Success rate", lambda totals: totals.success_rate, share, (completed, "of"), (decided, "completed")),
        measure("Median duration", lambda totals: totals.percentile(0.5), seconds, (completed, "completed runs")),
        measure("95th percentile", lambda totals: totals.percentile(0.95), seconds, (completed, "completed runs")),
    ]


def rankings(
    rows: list[run_trends.DeploymentTotals], span: Range, environments: Mapping[str, Environment]
) -> list[tuple[str, list[Ranked]]]:
    def ranked(row: run_trends.DeploymentTotals, key: str, number: int, text: str, *states: str) -> Ranked:
        url = runs_url(
            environment=row.environment, deployment=row.name, state=states, ended_from=span.begins, ended_to=span.ends
        )
        place = environments.get(row.environment) or Environment(slug=row.environment)
        return Ranked(place, row.name, Count(f"{key} {row.environment} {row.name}", number, url), text)

    slowest = run_trends.highest(rows, FEW, lambda row: row.mean_seconds)
    failing = run_trends.highest(rows, FEW, lambda row: row.failed)
    busiest = run_trends.highest(rows, FEW, lambda row: row.ended)
    found = [
        (
            "Slowest",
            [
                ranked(row, "slowest", row.completed, f"{seconds(row.mean_seconds)} on average", "COMPLETED")
                for row in slowest
            ],
        ),
        ("Most failures", [ranked(row, "failing", row.failed, f"of {row.ended:,} failed", *FAILED) for row in failing]),
        ("Most runs", [ranked(row, "busiest", row.ended, "runs", *ENDS) for row in busiest]),
    ]
    return [(title, ranks) for title, ranks in found if ranks]


def count_of(key: str, number: int, begins: object, ends: object, *states: str) -> Count:
    return Count(key, number, runs_url(state=states, ended_from=begins, ended_to=ends))  # type: ignore[arg-type]


def number_of(totals: Totals, states: list[str]) -> int:
    return sum(totals.counts[state] for state in states)


def table_row(slot: Slot, label: str) -> TableRow:
    totals = slot.totals
    return TableRow(
        label,
        [
            count_of(f"{label} {name.lower()}", number_of(totals, states), slot.begins, slot.ends, *states)
            for name, (_, states) in STACK.items()
        ],
        [share(totals.success_rate), seconds(totals.percentile(0.5)), seconds(totals.percentile(0.95))],
    )


def slot_label(slot: Slot, span: Range) -> str:
    begins = timezone.localtime(slot.begins)
    return f"{begins:%H:%M}" if span.is_hourly else formats.date_format(begins, "j M")


def seconds(found: float | None) -> str:
    return "-" if found is None else times.duration(found)


def whole(found: float | None) -> str:
    return f"{found or 0:,.0f}"
