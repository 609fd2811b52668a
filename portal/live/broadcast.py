"""One LISTEN connection per web process, fanned out to its subscribers. Authorization is in `portal.live.stream`."""

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

from portal.live.rights import Rights
from portal.live.row_feed import feeds
from runs.change_feed import CHANNEL

log = logging.getLogger(__name__)

# Seconds before reconnecting to Postgres; doubled after each failure.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 15.0
# Pending ids per client; beyond that, a slow client is sent "anything may have changed".
MAX_PENDING_IDS = 2000
# Connection options of Django's backend that psycopg's async connection does not take or need.
DJANGO_OPTIONS = frozenset({"context", "cursor_factory", "prepare_threshold"})
# Notices a silently lost network within 25 s; without keepalives, a connection that only listens would never.
KEEPALIVE = {"keepalives": 1, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}


@dataclass(frozen=True, slots=True)
class Changes:
    """Ids of changed rows by subject. `is_anything`: some ids were lost, so any row may have changed."""

    ids: Mapping[str, frozenset[int]] = field(default_factory=dict)
    is_anything: bool = False

    def of(self, subject: str) -> frozenset[int]:
        return self.ids.get(subject, frozenset())


class Subscriber:
    """Changes that one client has not received yet; bounded, so that slow clients do not fill the memory.

    `owner` is the key of the user whose session it is, once that is known.
    """

    def __init__(self) -> None:
        self.owner = ""
        self._ids: dict[str, set[int]] = {}
        self._is_anything = False
        self._has_changes = asyncio.Event()

    def put(self, changes: Changes) -> None:
        for subject, pks in changes.ids.items():
            self._ids.setdefault(subject, set()).update(pks)
        if changes.is_anything or sum(map(len, self._ids.values())) > MAX_PENDING_IDS:
            self._ids.clear()
            self._is_anything = True
        self._has_changes.set()

    async def take(self, seconds: float) -> Changes | None:
        """Return and clear the pending changes, or None if there were none within `seconds`."""
        try:
            await asyncio.wait_for(self._has_changes.wait(), seconds)
        except TimeoutError:
            return None
        changes = Changes({subject: frozenset(pks) for subject, pks in self._ids.items()}, self._is_anything)
        # No await between reading and clearing: a change that arrived there would be lost.
        self._ids, self._is_anything = {}, False
        self._has_changes.clear()
        return changes


class Broadcaster:
    """Delivers notifications to all subscribers; holds a connection only while there are any.

    `rights` and `rows` are what its streams keep, and forget by the same notifications.
    """

    def __init__(self) -> None:
        self.rights = Rights()
        self.rows = feeds()
        # Weak references: if a client disconnects before its stream starts, nothing calls `unsubscribe`.
        self.subscribers: WeakSet[Subscriber] = WeakSet()
        self._listener: asyncio.Task[None] | None = None

    def subscribe(self) -> Subscriber:
        subscriber = Subscriber()
        self.subscribers.add(subscriber)
        if self._listener is None or self._listener.done():
            self._listener = asyncio.create_task(self._listen())
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self.subscribers.discard(subscriber)
        if not self.subscribers and self._listener:
            self._listener.cancel()
            self._listener = None
            # Nothing tells of changes meanwhile.
            self.rights.forget()
            self.forget_rows()

    def forget_rows(self) -> None:
        for feed in self.rows.values():
            feed.forget_all()

    def deliver(self, changes: Changes) -> None:
        # Before anybody is told: what they then read is what changed.
        if changes.is_anything or changes.of("rights"):
            self.rights.forget()
        if changes.is_anything:
            self.forget_rows()
        else:
            for feed in self.rows.values():
                feed.forget_own(changes.of(feed.of.subject))
                feed.forget_runs(changes.of("run"))
        # A copy: garbage collection may remove subscribers during the loop.
        for subscriber in list(self.subscribers):
            subscriber.put(changes)

    async def _listen(self) -> None:
        """Receive notifications until cancelled; reconnects by itself."""
        pause = FIRST_PAUSE
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**connection_options(), autocommit=True) as session:
                    await session.execute(f"LISTEN {CHANNEL}")
                    # Postgres does not store notifications: those sent before this LISTEN are lost.
                    self.deliver(Changes(is_anything=True))
                    pause = FIRST_PAUSE
                    async for notification in session.notifies():
                        self.deliver(parse(notification.payload))
            except psycopg.Error as error:
                log.warning("Lost the LISTEN connection to Postgres, reconnecting in %.1f s: %s", pause, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)


def connection_options() -> dict[str, Any]:
    """Return psycopg's options for a connection outside Django's pool, which would hand it to other requests."""
    parameters = {
        name: value for name, value in connection.get_connection_params().items() if name not in DJANGO_OPTIONS
    }
    return KEEPALIVE | parameters


def parse(payload: str) -> Changes:
    """Parse a payload of `runs.change_feed`; anything else is logged and ignored: any client can NOTIFY."""
    try:
        ids = json.loads(payload)
        return Changes({str(subject): frozenset(map(int, pks)) for subject, pks in ids.items()})
    except (ValueError, TypeError, AttributeError):
        log.warning("Ignored an unexpected notification on %s.", CHANNEL)
        return Changes()


# One per event loop: a web process has one loop, but each test has its own.
BROADCASTERS: WeakKeyDictionary[asyncio.AbstractEventLoop, Broadcaster] = WeakKeyDictionary()


def broadcaster() -> Broadcaster:
    """Return the broadcaster of the running event loop."""
    return BROADCASTERS.setdefault(asyncio.get_running_loop(), Broadcaster())
