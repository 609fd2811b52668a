"""Charts as inline SVG from pure functions. They need no script; the pages add a table twin to each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# In units of the viewBox; the browser scales the drawing to the width of its panel.
WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 44, 6, 10, 26


@dataclass(frozen=True, slots=True)
class Series:
    """One colour of a stack. `tone` is a colour name of the page: green, red, amber, blue, grey."""

    label: str
    tone: str
    values: tuple[int, ...] = field(default=())

    @property
    def total(self) -> int:
        return sum(self.values)


def scale(highest: int) -> int:
    """Return the top of an axis for whole numbers: the next of 4, 8, 20, 40, 80, 200…, which four steps divide."""
    size = 1
    while True:
        for step in (1, 2, 5):
            if highest <= step * size * 4:
                return step * size * 4
        size *= 10


def stacked_bars(title: str, labels: Sequence[str], series: Sequence[Series], links: Sequence[str] = ()) -> SafeString:
    """Draw stacked bars of whole numbers, one for each label; `links` are the addresses they lead to."""
    totals = [sum(one.values[index] for one in series) for index in range(len(labels))]
    top = scale(max(totals, default=0))
    slot = (WIDTH - LEFT - RIGHT) / max(len(labels), 1)
    return format_html(
        '<svg class="portal-chart" viewBox="0 0 {} {}" role="{}" aria-label="{}" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title>{}{}{}</svg>",
        WIDTH,
        HEIGHT,
        # The parts of an image cannot be links.
        "group" if links else "img",
        title,
        title,
        axis(top),
        format_html_join(
            "",
            "{}",
            (
                (linked(bar(index, slot, top, labels[index], series), links[index] if links and total else ""),)
                for index, total in enumerate(totals)
            ),
        ),
        names(labels, slot),
    )


def linked(drawing: SafeString, link: str) -> SafeString:
    return format_html('<a href="{}">{}</a>', link, drawing) if link else drawing


def axis(top: int) -> SafeString:
    lines = ((LEFT, WIDTH - RIGHT, height(step * top // 4, top), step * top // 4) for step in range(5))
    return format_html_join(
        "",
        '<line x1="{0}" x2="{1}" y1="{2}" y2="{2}"></line>'
        '<text x="{3}" y="{4}" text-anchor="end" aria-hidden="true">{5}</text>',
        ((left, right, f"{y:.1f}", left - 6, f"{y + 4:.1f}", value) for left, right, y, value in lines),
    )


def bar(index: int, slot: float, top: int, label: str, series: Sequence[Series]) -> SafeString:
    # The tooltip names the numbers, because colours alone do not tell the series apart for everyone.
    words = ", ".join(f"{one.values[index]} {one.label.lower()}" for one in series if one.values[index])
    rows, below = [], 0
    for one in series:
        if value := one.values[index]:
            upper, lower = height(below + value, top), height(below, top)
            rows.append(
                (
                    f"{LEFT + index * slot + slot * 0.16:.1f}",
                    f"{upper:.1f}",
                    f"{slot * 0.68:.1f}",
                    f"{lower - upper:.1f}",
                    one.tone,
                )
            )
            below += value
    return format_html(
        "<g><title>{}: {}</title>{}</g>",
        label,
        words or "none",
        format_html_join("", '<rect x="{}" y="{}" width="{}" height="{}" rx="1.5" data-tone="{}"></rect>', rows),
    )


def names(labels: Sequence[str], slot: float) -> SafeString:
    """Draw the labels below the bars, as many as fit."""
    # A label of six characters is about 44 units wide.
    every = max(1, ceil(44 / slot))
    return format_html_join(
        "",
        '<text x="{}" y="{}" text-anchor="middle" aria-hidden="true">{}</text>',
        (
            (f"{LEFT + (index + 0.5) * slot:.1f}", HEIGHT - 7, label)
            for index, label in enumerate(labels)
            # Counted from the right, so that the newest one always has a label.
            if (len(labels) - 1 - index) % every == 0
        ),
    )


def height(value: int, top: int) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)


@dataclass(frozen=True, slots=True)
class Threshold:
    """A horizontal line in a line chart, in the unit of its values."""

    label: str
    tone: str
    value: float


def line(
    title: str, labels: Sequence[str], values: Sequence[float], thresholds: Sequence[Threshold] = ()
) -> SafeString:
    """Draw one measure over time, as a line with a dot for each value, and the thresholds near its values."""
    # 1. The scale, with 5% of room above the highest value.
    highest = max([*values, 0.0])
    # A threshold far above all values would flatten the line. The lowest is always drawn, to show how far off it is.
    near = [each for each in thresholds if each.value <= max(highest * 2, min(t.value for t in thresholds))]
    top = rounded(max([highest, *(each.value for each in near)]) * 1.05)
    # 2. The points, each in the middle of its slot, above its label.
    slot = (WIDTH - LEFT - RIGHT) / max(len(labels), 1)
    points = [(LEFT + (index + 0.5) * slot, level(value, top)) for index, value in enumerate(values)]
    # 3. The drawing, from back to front: axis, thresholds, line, dots, labels. `format_html` escapes every name.
    return format_html(
        '<svg class="portal-chart" viewBox="0 0 {} {}" role="img" xmlns="http://www.w3.org/2000/svg">'
        '<title>{}</title>{}{}<polyline class="portal-chart-line" points="{}"></polyline>{}{}</svg>',
        WIDTH,
        HEIGHT,
        title,
        ticks(top),
        format_html_join(
            "",
            '<g data-tone="{0}"><line class="portal-chart-limit" x1="{1}" x2="{2}" y1="{3}" y2="{3}"></line>'
            '<text class="portal-chart-limit-name" x="{2}" y="{4}" text-anchor="end">{5}</text></g>',
            (
                (each.tone, LEFT, WIDTH - RIGHT, f"{(y := level(each.value, top)):.1f}", f"{y - 3:.1f}", each.label)
                for each in near
            ),
        ),
        " ".join(f"{x:.1f},{y:.1f}" for x, y in points),
        format_html_join(
            "",
            '<circle class="portal-chart-dot" cx="{}" cy="{}" r="3.5"><title>{}: {}</title></circle>',
            (
                (f"{x:.1f}", f"{y:.1f}", label, f"{value:.3g}")
                for (x, y), label, value in zip(points, labels, values, strict=True)
            ),
        ),
        names(labels, slot),
    )


def rounded(highest: float) -> float:
    """Return the top of an axis for shares and distances: the next of 0.1, 0.2, 0.4, 0.6, 0.8, 1, 2…"""
    # All values are 0: any top will do, but a division by it must work.
    if highest <= 0:
        return 1.0
    size = 1e-6
    while highest > size * 10:
        size *= 10
    return next(round(step * size, 9) for step in (1, 2, 4, 6, 8, 10) if highest <= step * size)


def ticks(top: float) -> SafeString:
    """Draw five lines from 0 to the top, labelled with two significant digits."""
    rows = ((LEFT, WIDTH - RIGHT, level(top * step / 4, top), f"{top * step / 4:.2g}") for step in range(5))
    return format_html_join(
        "",
        '<line x1="{0}" x2="{1}" y1="{2}" y2="{2}"></line>'
        '<text x="{3}" y="{4}" text-anchor="end" aria-hidden="true">{5}</text>',
        ((left, right, f"{y:.1f}", left - 6, f"{y + 4:.1f}", label) for left, right, y, label in rows),
    )


def level(value: float, top: float) -> float:
    return TOP + (HEIGHT - TOP - BOTTOM) * (1 - value / top)


@dataclass(frozen=True, slots=True)
class Band:
    """A span of time in a lane; `begins` and `ends` are shares of the width from 0 to 1, `words` is the tooltip."""

    begins: float
    ends: float
    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class Lane:
    label: str
    bands: tuple[Band, ...]


# A one-minute window in two weeks would be invisible: every band is at least `NARROWEST` units wide.
LANE, BAND, NARROWEST = 40, 16, 2.0


def lanes(title: str, rows: Sequence[Lane], marks: Sequence[tuple[float, str]]) -> SafeString:
    """Draw spans of time, one lane for each rule; `marks` are positions from 0 to 1 on the axis, with their labels."""
    # 1. The size: the height grows with the number of lanes. A date needs 52 units, so not every midnight has a label.
    width, bottom = WIDTH - 2 * RIGHT, TOP + LANE * len(rows)
    slot = width / max(len(marks), 1)
    every = max(1, ceil(52 / slot))
    # 2. The drawing: a line at each mark, the lanes, and the labels of the marks.
    return format_html(
        '<svg class="portal-chart portal-lanes" viewBox="0 0 {} {}" role="img" xmlns="http://www.w3.org/2000/svg">'
        "<title>{}</title>{}{}{}</svg>",
        WIDTH,
        bottom + BOTTOM,
        title,
        format_html_join(
            "",
            '<line x1="{0}" x2="{0}" y1="{1}" y2="{2}"></line>',
            ((f"{RIGHT + share * width:.1f}", TOP, bottom) for share, _ in marks),
        ),
        format_html_join("", "{}", ((lane(row, TOP + index * LANE, width),) for index, row in enumerate(rows))),
        format_html_join(
            "",
            '<text x="{}" y="{}" aria-hidden="true">{}</text>',
            (
                (f"{RIGHT + share * width:.1f}", bottom + BOTTOM - 9, name)
                for index, (share, name) in enumerate(marks)
                if index % every == 0
            ),
        ),
    )


def lane(row: Lane, top: float, width: float) -> SafeString:
    return format_html(
        '<text x="{}" y="{}" aria-hidden="true">{}</text>'
        '<rect class="portal-lane" x="{}" y="{}" width="{}" height="{}" rx="2"></rect>{}',
        RIGHT,
        f"{top + 13:.1f}",
        row.label,
        RIGHT,
        f"{top + 18:.1f}",
        width,
        BAND,
        format_html_join(
            "",
            '<rect x="{}" y="{}" width="{}" height="{}" rx="1.5" data-tone="{}"><title>{}</title></rect>',
            (
                (
                    # Moved to the left at the very end, so that a widened band stays inside.
                    f"{RIGHT + min(band.begins * width, width - NARROWEST):.1f}",
                    f"{top + 18:.1f}",
                    f"{max((band.ends - band.begins) * width, NARROWEST):.1f}",
                    BAND,
                    band.tone,
                    f"{row.label}: {band.words}",
                )
                for band in row.bands
            ),
        ),
    )
