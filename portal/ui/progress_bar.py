"""A bar of how many of a number of things are in which state, as inline SVG; the page prints the numbers beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

WIDTH, HEIGHT = 1000, 16


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the things. `tone` is a colour name of the page, `key` is for links to them."""

    key: str
    label: str
    tone: str
    count: int


def progress_bar(parts: Sequence[Part]) -> SafeString:
    """Draw the parts one after the other; what is not empty is at least visible."""
    shown = [part for part in parts if part.count]
    total = sum(part.count for part in shown) or 1
    title = ", ".join(f"{part.count} {part.label.lower()}" for part in shown)
    places, left = [], 0.0
    for part in shown:
        width = WIDTH * part.count / total
        places.append((part.tone, round(left, 2), round(max(width, 2), 2), HEIGHT))
        left += width
    return format_html(
        '<svg class="portal-progress-bar" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'xmlns="http://www.w3.org/2000/svg"><title>{}</title>{}</svg>',
        WIDTH,
        HEIGHT,
        title,
        format_html_join("", '<rect data-tone="{}" x="{}" y="0" width="{}" height="{}"/>', places),
    )
