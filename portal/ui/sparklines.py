"""Small lines over time as inline SVG; the pages have a table twin with their values."""

from __future__ import annotations

from collections.abc import Sequence

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

# In units of the viewBox.
WIDTH, HEIGHT, MARGIN = 120, 28, 3


def sparkline(title: str, labels: Sequence[str], values: Sequence[float | None], texts: Sequence[str]) -> SafeString:
    """Draw values from 0 to the highest one; where there is none, the line leads on to the next one.

    `texts` are the values as the tooltips show them.
    """
    top = max((value for value in values if value is not None), default=0) or 1
    slot = (WIDTH - 2 * MARGIN) / max(len(values), 1)
    points = [
        (MARGIN + (index + 0.5) * slot, HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * value / top)
        for index, value in enumerate(values)
        if value is not None
    ]
    # One point alone becomes a short line.
    ends = [(x + step, y) for x, y in points for step in (-2, 2)] if len(points) == 1 else points
    return format_html(
        '<svg class="portal-sparkline" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'xmlns="http://www.w3.org/2000/svg"><title>{}</title><polyline points="{}"></polyline>{}</svg>',
        WIDTH,
        HEIGHT,
        title,
        " ".join(f"{x:.1f},{y:.1f}" for x, y in ends),
        format_html_join(
            "",
            '<rect x="{}" y="0" width="{}" height="{}"><title>{}: {}</title></rect>',
            (
                (f"{MARGIN + index * slot:.1f}", f"{slot:.1f}", HEIGHT, label, text)
                for index, (label, text) in enumerate(zip(labels, texts, strict=True))
            ),
        ),
    )
