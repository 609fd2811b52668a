"""Write rows to a file: as JSON lines, which can be verified, or as CSV, which is safe to open."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from flows import canonical
from runs.models import AuditEntry

# Spreadsheets run a cell that starts with one of these as a formula; some accept the full-width signs too.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  (they are meant)

# heading -> function that returns the value of a row
Columns = Mapping[str, Callable[[Any], object]]

# Everything that the digest covers, so that a copy can be verified without the portal.
COLUMNS: Columns = {
    name: lambda entry, name=name: getattr(entry, name)
    for name in [field.attname for field in AuditEntry._meta.concrete_fields]
} | {"at": lambda entry: canonical.moment(entry.at)}


@dataclass(frozen=True, slots=True)
class Format:
    """A file format: `head` writes the first line from the headings, `line` one row."""

    content_type: str
    head: Callable[[Sequence[str]], str]
    line: Callable[[Sequence[str], Sequence[object]], str]


def written(rows: Iterable[Any], columns: Columns, chosen: Format) -> str:
    headings = list(columns)
    return "".join(chosen.line(headings, [read(row) for read in columns.values()]) for row in rows)


def csv_head(headings: Sequence[str]) -> str:
    # Without a byte order mark, spreadsheets assume a legacy encoding.
    return "\ufeff" + csv_line(headings, headings)


def csv_line(headings: Sequence[str], values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([cell(value) for value in values])
    return buffer.getvalue()


def cell(value: object) -> str | int | float:
    """Return a value as CSV writes it; numbers stay numbers, so that a negative one is not taken for a formula."""
    match value:
        case None:
            return ""
        # Before int: in Python a bool is one.
        case bool():
            return str(value).lower()
        case int() | float():
            return value
        case datetime():
            return value.isoformat()
        case dict() | list():
            return harmless(json.dumps(value, ensure_ascii=False, sort_keys=True))
        case _:
            return harmless(str(value))


def harmless(text: str) -> str:
    """Return the text with a leading apostrophe if a spreadsheet would run it as a formula."""
    return f"'{text}" if text.startswith(FORMULA_SIGNS) else text


def json_line(headings: Sequence[str], values: Sequence[object]) -> str:
    row = dict(zip(headings, values, strict=True))
    return json.dumps(row, ensure_ascii=False, default=json_value) + "\n"


def json_value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


FORMATS: dict[str, Format] = {
    "csv": Format("text/csv; charset=utf-8", csv_head, csv_line),
    "jsonl": Format("application/x-ndjson; charset=utf-8", lambda headings: "", json_line),
}
