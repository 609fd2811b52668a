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

from runs.change_feed import CHANNEL

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
# Ids one client may have waiting; a slower one is told that anything may have changed.
ROOM = 2000
# Not for this connection: Django's own row types and cursors.
DJANGO_OPTIONS = frozenset({"context", "cursor_factory", "prepare_threshold"})
# A network that went away silently is noticed within half a minute.
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


@dataclass(frozen=True, slots=True)
class Changes:
    """Ids of rows that changed, by subject. `is_anything`: some were missed, so any row may have changed."""

    ids: Mapping[str, frozenset[int]] = field(default_factory=dict)
    is_anything: bool = False

    def of(self, subject: str) -> frozenset[int]:
        return self.ids.get(subject, frozenset())


class Subscriber:
    """What one client has not been told yet; bounded, because a slow client must not grow the process."""

    def __init__(self) -> None:
        self._ids: dict[str, set[int]] = {}
        self._is_anything = False
        self._arrived = asyncio.Event()

    def put(self, news: Changes) -> None:
        for subject, pks in news.ids.items():
            self._ids.setdefault(subject, set()).update(pks)
        if news.is_anything or sum(map(len, self._ids.values())) > ROOM:
            self._ids.clear()
            self._is_anything = True
        self._arrived.set()

    async def take(self, seconds: float) -> Changes | None:
        """Everything that waits, or None when nothing came in that time."""
        try:
            await asyncio.wait_for(self._arrived.wait(), seconds)
        except TimeoutError:
            return None
        news = Changes({subject: frozenset(pks) for subject, pks in self._ids.items()}, self._is_anything)
        self._ids, self._is_anything = {}, False
        self._arrived.clear()
        return news


class Broadcaster:
    """Sorts what Postgres announces into the mailboxes; listens as long as there is one."""

    def __init__(self) -> None:
        # Weak: a client may go away between its answer and the first word of its stream.
        self.mailboxes: WeakSet[Subscriber] = WeakSet()
        self._listener: asyncio.Task[None] | None = None

    def subscribe(self) -> Subscriber:
        mailbox = Subscriber()
        self.mailboxes.add(mailbox)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen())
        return mailbox

    def unsubscribe(self, mailbox: Subscriber) -> None:
        self.mailboxes.discard(mailbox)
        if not self.mailboxes and self._listener:
            self._listener.cancel()
            self._listener = None

    def deliver(self, news: Changes) -> None:
        for mailbox in list(self.mailboxes):
            mailbox.put(news)

    async def _listen(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**address(), autocommit=True) as session:
                    await session.execute(f"LISTEN {CHANNEL}")
                    # Nobody heard what was said while there was no connection.
                    self.deliver(Changes(is_anything=True))
                    pause = FIRST_PAUSE
                    async for notice in session.notifies():
                        self.deliver(read(notice.payload))
            except psycopg.Error as error:
                log.warning("The live connection to Postgres broke, trying again in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def address() -> dict[str, Any]:
    """How to reach the database the portal uses, without its pool: a pooled connection would be given to others."""
    parameters = {
        name: value for name, value in connection.get_connection_params().items() if name not in DJANGO_OPTIONS
    }
    return KEEPALIVE | parameters


def read(payload: str) -> Changes:
    """A payload of `runs.change_feed`; whatever else is said on the channel is nothing."""
    try:
        said = json.loads(payload)
        return Changes({str(subject): frozenset(map(int, pks)) for subject, pks in said.items()})
    except (ValueError, TypeError, AttributeError):
        log.warning("Something that is no nudge was announced on %s.", CHANNEL)
        return Changes()


# A process has one event loop; tests have one each.
BROADCASTERS: WeakKeyDictionary[asyncio.AbstractEventLoop, Broadcaster] = WeakKeyDictionary()


def broadcaster() -> Broadcaster:
    """The one of this process."""
    return BROADCASTERS.setdefault(asyncio.get_running_loop(), Broadcaster())
