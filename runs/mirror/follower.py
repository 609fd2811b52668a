"""Follow the event streams of all servers and refresh the runs they name.

Events are hints: Prefect loses them silently under load. The run is always read from the API, and a sweep every 15 s
reads what no event named.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from itertools import count
from uuid import UUID

from django.db import close_old_connections
from django.utils import timezone

from flows.catalog import health
from flows.encryption import DecryptionError
from flows.models import Environment, Health, Server
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError
from flows.shared_servers import keys_of, read_together, reading_of
from runs import mirror, queue
from runs.mirror.sync import DETAILS_AT_ONCE, Swept
from runs.models import Run

log = logging.getLogger(__name__)

# A run emits several events within a moment: wait, then read it once.
DEBOUNCE_SECONDS = 0.15
DETAIL_SECONDS = 0.2
# How soon new log lines of active runs are looked for; every third look is a complete one, with task runs and
# artifacts. Without an active run less often: one that begins is announced by an event, or found by a sweep.
TAIL_SECONDS = 0.6
COMPLETE_EVERY = 3
IDLE_SECONDS = 5.0
# Of so many runs each is asked for its log; of more, those that one call for all of them finds to have new lines.
FEW = 5
# Between two looks that announced lines cause, and how many of these announcements are taken without a pause: a server
# drops what is not taken, and a look finds it anyway.
HINT_SECONDS = 0.2
HINTS_AT_ONCE = 100
# Before a server is asked again that has no stream of log lines.
NO_STREAM_SECONDS = 60.0
SWEEP_SECONDS = 15.0
# Prefect loses events when more than about 250 wait for a client, silently: so many runs in one batch of hints are
# followed by a sweep, after a moment in which the rest of them arrives.
CROWD = 100
CROWD_SECONDS = 1.0
CHECK_SECONDS = 5.0
# How soon a server that was added, changed or disabled is noticed.
ROSTER_SECONDS = 10.0

# keys of the environments, and the digest of the server's address and credential, and of the scopes
Connection = tuple[tuple[int, ...], str]


async def follow(*, stop: asyncio.Event) -> None:
    """Follow every server with an active environment until `stop`; changes of them need no restart."""
    followers: dict[int, tuple[Connection, asyncio.Task[None]]] = {}
    while not stop.is_set():
        active: dict[int, list[Environment]] = {}
        for environment in await in_thread(active_environments):
            active.setdefault(environment.server_id, []).append(environment)
        # A follower that ended by an error is replaced, like one of another address, credential or environment.
        for pk, (connection, task) in list(followers.items()):
            if task.done() or pk not in active or connection != followed(active[pk]):
                task.cancel()
                del followers[pk]
        for pk, environments in active.items():
            if pk not in followers:
                followers[pk] = (followed(environments), asyncio.create_task(Follower(environments[0]).run()))
        try:
            await asyncio.wait_for(stop.wait(), ROSTER_SECONDS)
        except TimeoutError:
            continue
    for _, task in followers.values():
        task.cancel()
    await asyncio.gather(*(task for _, task in followers.values()), return_exceptions=True)


def active_environments() -> list[Environment]:
    return list(Environment.objects.filter(is_active=True).select_related("server").order_by("pk"))


def followed(environments: Sequence[Environment]) -> Connection:
    """Return what a follower depends on: into which environments it reads, and how it reaches the server."""
    return tuple(keys_of(environments)), reading_of(environments)


async def in_thread[T](work: Callable[..., T], *args: object) -> T:
    """Run blocking database and HTTP code in a thread."""

    def fresh() -> T:
        # No request ends here, so nothing else would drop a connection that the server has closed.
        close_old_connections()
        return work(*args)

    return await asyncio.to_thread(fresh)


class Follower:
    """Follow the server of one environment: events as hints, sweeps for what they miss.

    Where several environments have a scope of the server, it is any of them: what is read is for all.
    """

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.hints: set[UUID] = set()
        self.hinted = asyncio.Event()
        self.crowded = asyncio.Event()
        # Until the states of a crowd are read, its details wait.
        self.is_crowded = False
        self.swept = asyncio.Event()
        # Runs of which a new log line was announced; `woken` when there are some, or when a run may have begun.
        self.logged: set[UUID] = set()
        self.woken = asyncio.Event()
        self.has_active = False
        self.last_sweep: Swept | None = None
        self.is_first = False
        # Runs whose state was read, but not yet their states, tasks and logs; `detailed` when there are some.
        self.pending_details: set[UUID] = set()
        self.detailed = asyncio.Event()

    async def run(self) -> None:
        """Run all loops until one of them fails or the task is cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self.listen())
            group.create_task(self.flush())
            group.create_task(self.listen_to_logs())
            group.create_task(self.read_details())
            group.create_task(self.tail())
            group.create_task(self.sweep())
            group.create_task(self.complete())
            group.create_task(self.every(CHECK_SECONDS, watch))

    async def listen(self) -> None:
        """Collect ids from the stream; reconnect when it breaks, and sweep for what was missed."""
        pause = 1.0
        while True:
            started = time.monotonic()
            try:
                async with aclosing(connect.client_for(self.environment.server).events()) as events:
                    async for event in events:
                        self.hints.add(event.flow_run_id)
                        self.hinted.set()
            except (PrefectError, DecryptionError) as error:
                log.warning("%s: the event stream broke: %s", self.environment, error)
            # A stream that held for a while starts again at once; one that breaks at once backs off.
            pause = 1.0 if time.monotonic() - started > 30 else min(pause * 2, 15.0)
            await asyncio.sleep(pause)
            self.crowded.set()

    async def listen_to_logs(self) -> None:
        """Collect ids from the stream of log lines, if the server has one: then lines are looked for at once."""
        while True:
            try:
                async with aclosing(connect.client_for(self.environment.server).log_hints()) as hints:
                    async for flow_run_id in hints:
                        self.logged.add(flow_run_id)
                        self.woken.set()
                        if len(self.logged) >= HINTS_AT_ONCE:
                            await asyncio.sleep(HINT_SECONDS)
            except (PrefectError, DecryptionError) as error:
                log.info("%s: no stream of log lines: %s", self.environment, error)
            await asyncio.sleep(NO_STREAM_SECONDS)

    async def tail(self) -> None:
        """Look for new log lines of active runs."""
        for number in count():
            is_complete = number % COMPLETE_EVERY == 0
            await self.run_safely(self.tail_logs if is_complete else self.tail_lines)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.woken.wait(), TAIL_SECONDS if self.has_active else IDLE_SECONDS)
                await asyncio.sleep(HINT_SECONDS)
            self.woken.clear()

    async def flush(self) -> None:
        """Read the runs that events named, in batches; keep the ids when Prefect cannot be reached."""
        while True:
            await self.hinted.wait()
            await asyncio.sleep(DEBOUNCE_SECONDS)
            self.hinted.clear()
            hints, self.hints = self.hints, set()
            if len(hints) >= CROWD:
                self.is_crowded = True
                self.crowded.set()
            # Taken out before the read: ids that arrive meanwhile belong to the next batch.
            if not await self.run_safely(refresh_state, hints):
                self.hints |= hints
                await asyncio.sleep(1)
                self.hinted.set()
            self.pending_details |= hints
            self.detailed.set()
            self.woken.set()

    async def sweep(self) -> None:
        """Sweep regularly, and soon after events of many runs came at once: of those Prefect will have lost some."""
        while True:
            self.crowded.clear()
            if await self.run_safely(self.sync_states) and self.last_sweep:
                self.woken.set()
                if self.last_sweep.is_complete:
                    self.swept.set()
                elif self.last_sweep.progress == mirror.Progress.MORE:
                    self.crowded.set()
            self.is_crowded = False
            with suppress(TimeoutError):
                await asyncio.wait_for(self.crowded.wait(), SWEEP_SECONDS)
                await asyncio.sleep(CROWD_SECONDS)

    async def read_details(self) -> None:
        """Read the details of runs whose state was read, unless those of a crowd are still to be read."""
        while True:
            await self.detailed.wait()
            self.detailed.clear()
            while self.pending_details:
                if not self.is_crowded:
                    await self.run_safely(self.fetch_details)
                await asyncio.sleep(DETAIL_SECONDS)

    async def complete(self) -> None:
        """After each sweep read the details of what it found: the next sweep does not wait for them."""
        while True:
            await self.swept.wait()
            self.swept.clear()
            await self.run_safely(self.sync_details)
            self.detailed.set()

    def sync_states(self, environment: Environment) -> None:
        self.last_sweep = sweep(environment)
        self.is_first |= bool(self.last_sweep and self.last_sweep.is_first)

    def sync_details(self, environment: Environment) -> None:
        if health.is_synced(environment):
            for each in read_together(environment):
                self.pending_details |= set(mirror.without_details(each))
                mirror.sync_activity(each, is_first=self.is_first)
            self.is_first = False

    def tail_logs(self, environment: Environment) -> None:
        for each, runs in self.active_runs(environment):
            mirror.tail_logs(each, runs)

    def tail_lines(self, environment: Environment) -> None:
        for each, runs in self.active_runs(environment):
            found = mirror.with_new_lines(each, runs) if len(runs) > FEW else runs
            if found:
                mirror.tail_lines(each, found)

    def active_runs(self, environment: Environment) -> list[tuple[Environment, list[Run]]]:
        """Return the runs whose log may have grown; none while the server is down, where each call would time out."""
        logged, self.logged = self.logged, set()
        found = [(each, mirror.recently_active(each, logged)) for each in read_together(environment)]
        active = [(each, runs) for each, runs in found if runs]
        self.has_active = bool(active)
        return active if active and is_up(environment.server) else []

    def fetch_details(self, environment: Environment) -> None:
        """Read states, tasks and logs separately, so that a long log does not delay the next state."""
        # Some at a time, so that they become visible one after the other.
        pending = {self.pending_details.pop() for _ in range(min(len(self.pending_details), DETAILS_AT_ONCE))}
        try:
            for each in read_together(environment):
                mirror.fetch_details(each, mirror.begun_or_opened(each, pending))
        except PrefectError:
            self.pending_details |= pending
            raise

    async def every(self, seconds: float, work: Callable[[Environment], None]) -> None:
        while True:
            await self.run_safely(work)
            await asyncio.sleep(seconds)

    async def run_safely(self, work: Callable[..., None], *args: object) -> bool:
        """Run `work` and return whether it succeeded; no error may end a loop."""
        try:
            await in_thread(work, self.environment, *args)
        except (PrefectError, DecryptionError) as error:
            log.info("%s: %s", self.environment, error)
            return False
        except Exception:
            log.exception("%s: the follower could not %s", self.environment, work.__name__)
            return False
        return True


def refresh_state(environment: Environment, hints: set[UUID]) -> None:
    # Not before the first sync of the catalog, which refuses a server that another environment has: its runs would be
    # visible here under other rules. The sweep after that sync reads what is dropped now.
    if health.is_synced(environment):
        mirror.refresh_state(environment, hints)


def sweep(environment: Environment) -> Swept | None:
    """Read all states, if the catalog was synced."""
    return mirror.sync_states(environment) if health.is_synced(environment) else None


def is_up(server: Server) -> bool:
    return health.health_of(server).state == Health.State.UP


def watch(environment: Environment) -> None:
    """Record a heartbeat. Check a server that is down; when it is back, sync and send what waited for it."""
    server = environment.server
    health.record_followed(server, timezone.now())
    if not is_up(server) and health.check(server).state == Health.State.UP:
        queue.enqueue("runs.tasks.sync", server.pk)
        queue.enqueue("runs.tasks.requeue_due")
