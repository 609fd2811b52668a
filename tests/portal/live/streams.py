"""Streams of the portal as tests read them: without a listener, in the test's own transaction."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient

from portal.live import broadcast
from portal.live.broadcast import Broadcaster, Changes


class Silent(Broadcaster):
    """Does not listen: other tests' commits must not disturb, and these tests commit nothing."""

    async def _listen(self) -> None:
        await asyncio.sleep(3600)


def channel() -> Broadcaster:
    """The broadcaster of this loop, which does not listen."""
    return broadcast.BROADCASTERS.setdefault(asyncio.get_running_loop(), Silent())


def by_itself(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs a test's coroutine so that its database calls stay in the test's transaction."""
    return async_to_sync(test)


@asynccontextmanager
async def opened(user: User, query: str) -> AsyncIterator[AsyncIterator[str]]:
    """The events that a page receives, one at a time."""
    channel()
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.get(f"/admin/live/?{query}")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/event-stream"
    assert "no-store" in answer["Cache-Control"]
    stream: AsyncGenerator[Any] = aiter(answer)  # type: ignore[arg-type]  # a streaming answer, which the stubs do not know
    try:
        yield (piece.decode() if isinstance(piece, bytes) else piece async for piece in stream)
    finally:
        await stream.aclose()


async def next_event(stream: AsyncIterator[str]) -> tuple[str, Any]:
    """The next event and its data."""
    piece = await asyncio.wait_for(anext(stream), 5)
    lines = dict(line.split(": ", 1) for line in piece.strip().splitlines() if line)
    return lines.get("event", "ping"), json.loads(lines.get("data", "null"))


async def nothing(stream: AsyncIterator[str]) -> bool:
    """Whether no event comes for a moment. The stream cannot be used afterwards."""
    try:
        await asyncio.wait_for(anext(stream), 0.3)
    except TimeoutError:
        return True
    return False


def publish(**ids: int) -> None:
    channel().deliver(Changes({subject: frozenset([pk]) for subject, pk in ids.items()}))


async def status(user: User | None, query: str) -> int:
    channel()
    client = AsyncClient()
    if user:
        await client.aforce_login(user)
    answer = await client.get(f"/admin/live/?{query}")
    return int(answer.status_code)
