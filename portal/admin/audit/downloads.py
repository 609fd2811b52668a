"""Streams downloads in pieces, so that memory holds one piece at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Model, QuerySet
from django.http import StreamingHttpResponse

from runs.audit import export_files
from runs.audit.lines import FORMATS, Columns, Format, written
from runs.models import Export

ROWS_A_PAGE = 1000


def stream(queryset: QuerySet[Any], columns: Columns, *, file_format: str, name: str) -> StreamingHttpResponse:
    """Return the rows as a download, newest first."""
    return download(pages(queryset, columns, FORMATS[file_format]), file_format, f"{name}.{file_format}")


def send(export: Export) -> StreamingHttpResponse:
    """Return a finished export as a download."""
    return download(parts(export), export.file_format, str(export))


def download(content: AsyncIterator[str | bytes], file_format: str, name: str) -> StreamingHttpResponse:
    return StreamingHttpResponse(
        content,
        content_type=FORMATS[file_format].content_type,
        headers={"Content-Disposition": f'attachment; filename="{name}"', "Cache-Control": "no-store"},
    )


async def pages(queryset: QuerySet[Any], columns: Columns, chosen: Format) -> AsyncIterator[str | bytes]:
    if head := chosen.head(list(columns)):
        yield head
    last: object = None
    # By key, not by cursor: a slow client must not hold a connection of the pool for minutes.
    while rows := await sync_to_async(page)(queryset, last):
        last = rows[-1].pk
        yield written(rows, columns, chosen)


def page(queryset: QuerySet[Any], before: object) -> list[Model]:
    rows = queryset.order_by("-pk")
    return list((rows.filter(pk__lt=before) if before is not None else rows)[:ROWS_A_PAGE])


async def parts(export: Export) -> AsyncIterator[str | bytes]:
    # The file is stored in numbered parts, so one part at a time is read and decompressed.
    for number in range(await sync_to_async(export.parts.count)()):
        yield await sync_to_async(export_files.piece)(export, number)
