"""Prepares artifacts for display. Every text in them comes from a flow and is treated as hostile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from itertools import zip_longest
from typing import Any

from django.utils.safestring import SafeString
from markdown_it import MarkdownIt

from flows.plain_text import prose
from flows.wording import plain_number
from runs.models import Artifact

# A table artifact may hold anything; the page has to stay loadable.
MOST_ROWS, MOST_COLUMNS, LONGEST_CELL = 500, 30, 300
# Longer tables are folded where several artifacts are listed.
MOST_UNFOLDED = 12
# HTML stays text, markdown-it rejects javascript: links, and images are off: they would call a foreign server.
MARKDOWN = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table").disable("image")
ICONS = {"markdown": "article", "table": "table_chart", "progress": "progress_activity", "image": "image"}


@dataclass(frozen=True, slots=True)
class Shown:
    """One artifact in its display form: `html`, a table, `percent`, a framed page, or a `note` where there is none."""

    artifact: Artifact
    icon: str
    html: SafeString | None = None
    columns: list[str] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    left_out: int = 0
    percent: float | None = None
    is_page: bool = False
    note: str = ""

    @property
    def is_short(self) -> bool:
        """Whether it is unfolded where several artifacts are listed."""
        return len(self.rows) <= MOST_UNFOLDED


def shown(artifact: Artifact) -> Shown:
    """Return the display form for an artifact's type and data; data that does not fit its type is shown as JSON."""
    data = artifact.data
    icon = ICONS.get(artifact.type, "draft")
    # First, because pages are stored as markdown artifacts: Prefect has no type for HTML.
    if is_page(artifact):
        return Shown(artifact, "web", is_page=True)
    if artifact.type == "markdown" and isinstance(data, str):
        return Shown(artifact, icon, html=rendered(data))
    if artifact.type == "table" and (rows := rows_of(data)) is not None:
        return table(artifact, icon, rows)
    if artifact.type == "progress" and isinstance(data, int | float):
        return Shown(artifact, icon, percent=plain_number(round(min(max(float(data), 0.0), 100.0), 1)))
    if data is None:
        return Shown(artifact, icon, note="Empty, or too large to display. Open it in Prefect.")
    return Shown(artifact, icon, html=None, note=prose(cell(data)))


def is_page(artifact: Artifact) -> bool:
    """Whether it is an HTML page, which is displayed only in a sandboxed frame."""
    start = artifact.data[:200].lstrip().lower() if isinstance(artifact.data, str) else ""
    return start.startswith(("<!doctype html", "<html"))


def rendered(text: str) -> SafeString:
    """Render markdown; tags in the text are escaped."""
    # Safe only because MARKDOWN has `html` off. Without that option this would be stored cross-site scripting.
    return SafeString(MARKDOWN.render(prose(text)))


def rows_of(data: Any) -> list[dict[str, Any]] | None:
    """Return the rows of a table in any of the shapes that Prefect takes; None if it has none of them.

    They are a list of objects, an object of lists (its columns), and a list of lists, whose columns have no names.
    """
    if isinstance(data, list) and all(isinstance(row, dict | list) and row for row in data):
        return [row if isinstance(row, dict) else {str(n): value for n, value in enumerate(row, 1)} for row in data]
    if isinstance(data, dict) and data and all(isinstance(column, list) for column in data.values()):
        rows = zip_longest(*data.values(), fillvalue="")
        return [dict(zip(map(str, data), row, strict=True)) for row in rows]
    return None


def table(artifact: Artifact, icon: str, data: list[dict[str, Any]]) -> Shown:
    # Rows may have different keys: the columns are their union, in order of first appearance.
    columns = list(dict.fromkeys(str(name) for row in data[:MOST_ROWS] for name in row))[:MOST_COLUMNS]
    rows = [[cell(row.get(name, "")) for name in columns] for row in data[:MOST_ROWS]]
    return Shown(artifact, icon, columns=list(map(cell, columns)), rows=rows, left_out=max(len(data) - MOST_ROWS, 0))


def cell(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(plain_number(value), ensure_ascii=False)
    return prose(text if len(text) <= LONGEST_CELL else f"{text[:LONGEST_CELL]}…")
