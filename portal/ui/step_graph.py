"""Draws steps in layers, with arrows from each to those that wait for it, as inline SVG. Pure functions.

Each box is a link, so that the keyboard reaches it; the page has a table with the same beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# Units of the drawing are pixels: a page scrolls it sideways, so that its text is never smaller than other text.
WIDTH, HEIGHT = 208, 66
BETWEEN_LAYERS, BETWEEN_BOXES, MARGIN = 44, 40, 20
# How far beside the middle of a box an arrow begins that passes others, and its bends.
BESIDE, ASIDE = 60, 140
LONGEST = 25


@dataclass(frozen=True, slots=True)
class Box:
    """A step: its name, what it runs, the label and colour of its state, marks, and where it leads."""

    key: str
    detail: str
    state: str
    tone: str
    link: str
    mark: str = ""


@dataclass(frozen=True, slots=True)
class Arrow:
    """From a step to one that waits for it; `label` says for what."""

    before: str
    after: str
    label: str


def step_graph(
    title: str, layers: Sequence[Sequence[str]], boxes: Mapping[str, Box], arrows: Sequence[Arrow]
) -> SafeString:
    """Draw the steps, a layer a row: most chains are longer than wide, and so are the screens of phones."""
    places = place(layers)
    widest = max((len(layer) for layer in layers), default=0)
    width = MARGIN * 2 + widest * WIDTH + max(widest - 1, 0) * BETWEEN_BOXES
    height = MARGIN * 2 + len(layers) * HEIGHT + max(len(layers) - 1, 0) * BETWEEN_LAYERS
    return format_html(
        '<svg class="portal-step-graph" width="{0}" height="{1}" viewBox="0 0 {0} {1}" role="group" '
        'aria-label="{2}"><title>{2}</title>{3}{4}{5}</svg>',
        width,
        height,
        title,
        format_html_join("", "{}", ((line(arrow, places),) for arrow in arrows)),
        format_html_join("", "{}", ((box(boxes[key], at),) for key, at in places.items())),
        format_html_join("", "{}", ((label(arrow, places),) for arrow in arrows if arrow.label)),
    )


def place(layers: Sequence[Sequence[str]]) -> dict[str, tuple[int, int]]:
    """Return the upper left corner of each box; shorter layers stand in the middle."""
    widest = max((len(layer) for layer in layers), default=0)
    found = {}
    for row, layer in enumerate(layers):
        offset = (widest - len(layer)) * (WIDTH + BETWEEN_BOXES) // 2
        for column, key in enumerate(layer):
            y = MARGIN + row * (HEIGHT + BETWEEN_LAYERS)
            found[key] = (MARGIN + offset + column * (WIDTH + BETWEEN_BOXES), y)
    return found


def box(step: Box, at: tuple[int, int]) -> SafeString:
    x, y = at
    said = ", ".join(each for each in (step.key, step.detail, step.state, step.mark) if each)
    return format_html(
        '<a class="portal-step" href="{}" data-step="{}" data-tone="{}" aria-label="{}"><title>{}</title>'
        '<rect x="{}" y="{}" width="{}" height="{}" rx="6"></rect><rect class="portal-step-edge" x="{}" y="{}" '
        'width="5" height="{}" rx="2"></rect><text class="portal-step-key" x="{}" y="{}">{}</text>'
        '<text x="{}" y="{}">{}</text><text class="portal-step-state" x="{}" y="{}">{}</text></a>',
        *(step.link, step.key, step.tone, said, said),
        *(x, y, WIDTH, HEIGHT, x, y, HEIGHT),
        *(x + 14, y + 20, short(f"{step.key} · {step.mark}" if step.mark else step.key)),
        *(x + 14, y + 38, short(step.detail)),
        *(x + 14, y + 56, short(step.state)),
    )


def line(arrow: Arrow, places: Mapping[str, tuple[int, int]]) -> SafeString:
    x, y, end_x, end_y = ends(arrow, places)
    bend = max((end_y - y) // 2, 24)
    if end_y - y > BETWEEN_LAYERS:
        # It passes a layer: around the box that may stand between.
        return format_html(
            '<path class="portal-step-line" d="M{} {}C{} {} {} {} {} {}l-4 -7m4 7l4 -7"></path>',
            *(x + BESIDE, y, x + ASIDE, y + bend, end_x + ASIDE, end_y - bend, end_x + BESIDE, end_y),
        )
    return format_html(
        '<path class="portal-step-line" d="M{} {}C{} {} {} {} {} {}l-4 -7m4 7l4 -7"></path>',
        *(x, y, x, y + bend, end_x, end_y - bend, end_x, end_y),
    )


def label(arrow: Arrow, places: Mapping[str, tuple[int, int]]) -> SafeString:
    x, _, end_x, end_y = ends(arrow, places)
    # Above the box that it is a condition of, towards the step before: there the lines of several are apart.
    return format_html(
        '<text class="portal-step-label" text-anchor="middle" x="{}" y="{}"><title>{}</title>{}</text>',
        end_x + (x - end_x) // 5,
        end_y - 14,
        arrow.label,
        short(arrow.label),
    )


def ends(arrow: Arrow, places: Mapping[str, tuple[int, int]]) -> tuple[int, int, int, int]:
    x, y = places[arrow.before]
    end_x, end_y = places[arrow.after]
    return x + WIDTH // 2, y + HEIGHT, end_x + WIDTH // 2, end_y


def short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"
