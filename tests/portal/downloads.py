"""Reads downloads of lists as a browser does: piece by piece."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator, Callable

from asgiref.sync import async_to_sync, sync_to_async
from django.test import Client


def rows_of(client: Client, address: str, after_first: Callable[[], object] | None = None) -> list[dict[str, str]]:
    """Download a list; `after_first` is called when the first rows have come."""
    answer = client.post(address)
    assert answer.status_code == 200
    assert answer["Content-Type"].startswith("text/csv")

    async def read() -> str:
        pieces: list[str] = []
        content: AsyncIterator[bytes] = aiter(answer.streaming_content)
        async for piece in content:
            pieces.append(piece.decode())
            if len(pieces) == 2 and after_first:
                await sync_to_async(after_first)()
        return "".join(pieces)

    return list(csv.DictReader(io.StringIO(async_to_sync(read)().removeprefix("\ufeff"))))
