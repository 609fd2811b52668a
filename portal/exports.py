"""Lists as files: streamed row by row, and harmless to the program that opens them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Model, QuerySet
from django.http import StreamingHttpResponse

# What a spreadsheet takes for the beginning of a formula; some also read the full-width signs.
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001  (they are meant)
ROWS_A_PAGE = 1000

# heading -> how to read it from a row
Columns = Mapping[str, Callable[[Any], object]]


@dataclass(frozen=True, slots=True)
class Format:
    content_type: str
    head: Callable[[Sequence[str]], str]
    line: Callable[[Sequence[str], Sequence[object]], str]


def stream(queryset: QuerySet[Any], columns: Columns, *, file_format: str, name: str) -> StreamingHttpResponse:
    """The rows as a download, the newest first; memory holds one page of them."""
    chosen = FORMATS[file_format]
    return StreamingHttpResponse(
        pages(queryset, columns, chosen),
        content_type=chosen.content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}.{file_format}"', "Cache-Control": "no-store"},
    )


async def pages(queryset: QuerySet[Any], columns: Columns, chosen: Format) -> AsyncIterator[str]:
    headings = list(columns)
    if head := chosen.head(headings):
        yield head
    last: object = None
    # By key, not by cursor: a slow reader must not hold a connection of the pool.
    while rows := await sync_to_async(page)(queryset, last):
        last = rows[-1].pk
        yield "".join(chosen.line(headings, [read(row) for read in columns.values()]) for row in rows)


def page(queryset: QuerySet[Any], before: object) -> list[Model]:
    rows = queryset.order_by("-pk")
    return list((rows.filter(pk__lt=before) if before is not None else rows)[:ROWS_A_PAGE])


def csv_head(headings: Sequence[str]) -> str:
    # Without this mark spreadsheets take the file for one of their own country's old encodings.
    return "\ufeff" + csv_line(headings, headings)


def csv_line(headings: Sequence[str], values: Sequence[object]) -> str:
    buffer = io.StringIO()
    csv.writer(buffer).writerow([cell(value) for value in values])
    return buffer.getvalue()


def cell(value: object) -> str | int | float:
    match value:
        case None:
            return ""
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
    """A leading apostrophe keeps a spreadsheet from running what somebody typed as a formula."""
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
