"""One LISTEN connection a web process, and the mailboxes it fills: who is told is decided elsewhere."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import psycopg
from django.db import connection

from runs.nudges import CHANNEL

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
# Ids one client may have waiting; a slower one is told that anything may have changed.
ROOM = 2000
# Not for this connection: Django's own row types and cursors.
DJANGOS = frozenset({"context", "cursor_factory", "prepare_threshold"})
# A network that went away silently is noticed within half a minute.
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


@dataclass(frozen=True, slots=True)
class News:
    """Ids of rows that changed, by subject. `is_anything`: some were missed, so any row may have changed."""

    ids: Mapping[str, frozenset[int]] = field(default_factory=dict)
    is_anything: bool = False

    def of(self, subject: str) -> frozenset[int]:
        return self.ids.get(subject, frozenset())


class Mailbox:
    """What one client has not been told yet; bounded, because a slow client must not grow the process."""

    def __init__(self) -> None:
        self._ids: dict[str, set[int]] = {}
        self._is_anything = False
        self._arrived = asyncio.Event()

    def put(self, news: News) -> None:
        for subject, pks in news.ids.items():
            self._ids.setdefault(subject, set()).update(pks)
        if news.is_anything or sum(map(len, self._ids.values())) > ROOM:
            self._ids.clear()
            self._is_anything = True
        self._arrived.set()

    async def take(self, seconds: float) -> News | None:
        """Everything that waits, or None when nothing came in that time."""
        try:
            await asyncio.wait_for(self._arrived.wait(), seconds)
        except TimeoutError:
            return None
        news = News({subject: frozenset(pks) for subject, pks in self._ids.items()}, self._is_anything)
        self._ids, self._is_anything = {}, False
        self._arrived.clear()
        return news


class PostRoom:
    """Sorts what Postgres announces into the mailboxes; listens as long as there is one."""

    def __init__(self) -> None:
        # Weak: a client may go away between its answer and the first word of its stream.
        self.mailboxes: WeakSet[Mailbox] = WeakSet()
        self._listener: asyncio.Task[None] | None = None

    def open_mailbox(self) -> Mailbox:
        mailbox = Mailbox()
        self.mailboxes.add(mailbox)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen())
        return mailbox

    def close_mailbox(self, mailbox: Mailbox) -> None:
        self.mailboxes.discard(mailbox)
        if not self.mailboxes and self._listener:
            self._listener.cancel()
            self._listener = None

    def deliver(self, news: News) -> None:
        for mailbox in list(self.mailboxes):
            mailbox.put(news)

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**address(), autocommit=True) as session:
                    await session.execute(f"LISTEN {CHANNEL}")
                    # Nobody heard what was said while there was no connection.
                    self.deliver(News(is_anything=True))
                    pause = FIRST_PAUSE
                    async for notice in session.notifies():
                        self.deliver(read(notice.payload))
            except psycopg.Error as error:
                log.warning("The live connection to Postgres broke, trying again in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def address() -> dict[str, Any]:
    """How to reach the database the portal uses, without its pool: a pooled connection would be given to others."""
    mine = {name: value for name, value in connection.get_connection_params().items() if name not in DJANGOS}
    return KEEPALIVE | mine


def read(payload: str) -> News:
    """A payload of `runs.nudges`; whatever else is said on the channel is nothing."""
    try:
        said = json.loads(payload)
        return News({str(subject): frozenset(map(int, pks)) for subject, pks in said.items()})
    except (ValueError, TypeError, AttributeError):
        log.warning("Something that is no nudge was announced on %s.", CHANNEL)
        return News()


# A process has one event loop; tests have one each.
ROOMS: WeakKeyDictionary[asyncio.AbstractEventLoop, PostRoom] = WeakKeyDictionary()


def post_room() -> PostRoom:
    """The one of this process."""
    return ROOMS.setdefault(asyncio.get_running_loop(), PostRoom())
