"""Draws spans of time on one axis: the bars of a lane, what it depends on, and the axis above all lanes.

Pure functions. The lanes are rows of equal height in HTML, so that each is a link with text of its own; a drawing fills
the height of its row, and reaches into other rows to show what depends on what.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from portal.ui import times

# Units of a drawing: the whole time is 1000 wide, and a row is 20 high.
WIDTH, ROW = 1000, 20
TOP, BAR = 5, 10
# A bar of milliseconds in hours must still be visible.
NARROWEST = 5
# More lines than these cannot be followed.
MOST_ARROWS = 20
# Distances of two marks of an axis, in seconds.
STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400)
MOST_MARKS = 6


@dataclass(frozen=True, slots=True)
class Segment:
    """A span in a lane, from 0 to 1 of the axis, in the colour of a state."""

    begins: float
    ends: float
    tone: str


@dataclass(frozen=True, slots=True)
class Arrow:
    """From where a lane ended that another depends on to where that one begins; `rows` is how far below it is."""

    rows: int
    begins: float
    ends: float


def lane(
    title: str, segments: Sequence[Segment], incoming: Sequence[Arrow] = (), outgoing: Sequence[Arrow] = ()
) -> SafeString:
    """Draw one lane. The arrows are shown while the pointer or the focus is on it; see `portal-lane` in the styles."""
    shapes: dict[str, list[str]] = defaultdict(list)
    for each in segments:
        left, width = bounds(each)
        shapes[each.tone].append(f"M{left:g} {TOP}h{width:g}v{BAR}h-{width:g}z")
    return format_html(
        '<svg viewBox="0 0 {} {}" preserveAspectRatio="none" role="img"><title>{}</title>{}{}</svg>',
        WIDTH,
        ROW,
        title,
        # One path for each tone: the picture of thousands of tasks is hardly longer than that of one.
        format_html_join(
            "", '<path data-tone="{}" d="{}"></path>', ((tone, "".join(parts)) for tone, parts in shapes.items())
        ),
        arrows(incoming, outgoing),
    )


def bounds(segment: Segment) -> tuple[float, float]:
    """Return where a segment begins and how wide it is; moved to the left where it would leave the drawing."""
    width = max((segment.ends - segment.begins) * WIDTH, NARROWEST)
    left = min(max(segment.begins * WIDTH, 0), WIDTH - min(width, WIDTH))
    return round(left, 1), round(min(width, WIDTH - left), 1)


def arrows(incoming: Sequence[Arrow], outgoing: Sequence[Arrow]) -> SafeString:
    """Draw what a lane depends on, and what depends on it, as one path each way; empty without any."""
    middle = ROW / 2
    # An incoming one begins in a row above this one, an outgoing one ends in a row below.
    drawn = (
        ("in", "".join(curve(each, middle - each.rows * ROW, middle) for each in incoming[:MOST_ARROWS])),
        ("out", "".join(curve(each, middle, middle + each.rows * ROW) for each in outgoing[:MOST_ARROWS])),
    )
    return format_html_join(
        "",
        '<path class="portal-lane-arrow" data-way="{}" vector-effect="non-scaling-stroke" d="{}"></path>',
        ((way, path) for way, path in drawn if path),
    )


def curve(arrow: Arrow, top: float, bottom: float) -> str:
    begins, ends = arrow.begins * WIDTH, arrow.ends * WIDTH
    bend = max(abs(ends - begins) / 2, 15)
    return f"M{begins:.0f} {top:g}C{begins + bend:.0f} {top:g} {ends - bend:.0f} {bottom:g} {ends:.0f} {bottom:g}"


def axis(seconds: float, offset: float = 0.0) -> SafeString:
    """Draw vertical lines at round times, with how long after the start each is; `offset` is where the axis begins."""
    rows = [(f"{(mark - offset) / seconds * 100:.2f}%", label_of(mark)) for mark in marks(seconds, offset)]
    return format_html(
        '<svg class="portal-graph-axis" width="100%" height="100%" aria-hidden="true">{}</svg>',
        format_html_join("", '<line x1="{0}" x2="{0}" y1="18" y2="100%"></line><text x="{0}" y="12">{1}</text>', rows),
    )


def marks(seconds: float, offset: float) -> Iterable[float]:
    days = ceil(seconds / STEPS[-1] / MOST_MARKS)
    step = next((each for each in STEPS if seconds / each <= MOST_MARKS), days * STEPS[-1])
    number = int(-(-offset // step))
    while number * step < offset + seconds * 0.97:  # one at the very end would have no room for its label
        yield number * step
        number += 1


def label_of(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 1 else times.span(seconds)
