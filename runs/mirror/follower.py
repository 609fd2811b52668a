"""Listens to Prefect's event streams and turns events into "refresh these ids", nothing else."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing
from uuid import UUID

from django.db import close_old_connections
from django.utils import timezone

from flows.catalog import health
from flows.encryption import DecryptionError
from flows.models import Environment, Health
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError
from runs import mirror, queue
from runs.models import RunRequest

log = logging.getLogger(__name__)

DEBOUNCE_SECONDS = 0.15
DETAIL_SECONDS = 0.5
TAIL_SECONDS = 1.5
SWEEP_SECONDS = 15.0
CHECK_SECONDS = 5.0
DUE_SECONDS = 5.0
MOST_DUE = 200
ROSTER_SECONDS = 10.0


async def follow(*, stop: asyncio.Event) -> None:
    """Follow every active environment until `stop`; environments come and go without a restart."""
    followers: dict[int, tuple[str, asyncio.Task[None]]] = {}
    while not stop.is_set():
        active = {environment.pk: environment for environment in await in_thread(supervise)}
        for pk, (door, task) in list(followers.items()):
            if task.done() or pk not in active or door != address_of(active[pk]):
                task.cancel()
                del followers[pk]
        for pk, environment in active.items():
            if pk not in followers:
                followers[pk] = (address_of(environment), asyncio.create_task(Follower(environment).run()))
        try:
            await asyncio.wait_for(stop.wait(), ROSTER_SECONDS)
        except TimeoutError:
            continue
    for _, task in followers.values():
        task.cancel()
    await asyncio.gather(*(task for _, task in followers.values()), return_exceptions=True)


def supervise() -> list[Environment]:
    return list(Environment.objects.filter(is_active=True))


def address_of(environment: Environment) -> str:
    """Changes when the environment needs a new connection."""
    return f"{environment.api_url} {environment.credential_kind} {bytes(environment.sealed_credential).hex()}"


async def in_thread[T](work: Callable[..., T], *args: object) -> T:
    def fresh() -> T:
        close_old_connections()
        return work(*args)

    return await asyncio.to_thread(fresh)


class Follower:
    """Follows one environment: events as hints, a sweep as the floor."""

    def __init__(self, environment: Environment) -> None:
        self.environment = environment
        self.hints: set[UUID] = set()
        self.hinted = asyncio.Event()
        self.bare: set[UUID] = set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self.listen())
            group.create_task(self.flush())
            group.create_task(self.every(DETAIL_SECONDS, self.fetch_details))
            group.create_task(self.every(TAIL_SECONDS, tail))
            group.create_task(self.every(SWEEP_SECONDS, sweep))
            group.create_task(self.every(CHECK_SECONDS, revive))
            group.create_task(self.every(DUE_SECONDS, send_due))

    async def listen(self) -> None:
        """Collect ids from the stream; when it breaks, try again, sweeping for what was missed."""
        pause = 1.0
        while True:
            started = time.monotonic()
            try:
                async with aclosing(connect.client_for(self.environment).events()) as events:
                    async for event in events:
                        self.hints.add(event.flow_run_id)
                        self.hinted.set()
            except (PrefectError, DecryptionError) as error:
                log.warning("%s: the event stream broke: %s", self.environment, error)
            pause = 1.0 if time.monotonic() - started > 30 else min(pause * 2, 15.0)
            await asyncio.sleep(pause)
            await self.run_safely(sweep)

    async def flush(self) -> None:
        while True:
            await self.hinted.wait()
            await asyncio.sleep(DEBOUNCE_SECONDS)
            self.hinted.clear()
            hints, self.hints = self.hints, set()
            if not await self.run_safely(refresh_state, hints):
                self.hints |= hints
                await asyncio.sleep(1)
                self.hinted.set()
            self.bare |= hints

    def fetch_details(self, environment: Environment) -> None:
        """Read states, tasks and logs after the fact, so that a long log does not keep the next state waiting."""
        bare, self.bare = self.bare, set()
        try:
            mirror.fetch_details(environment, list(bare))
        except PrefectError:
            self.bare |= bare
            raise

    async def every(self, seconds: float, work: Callable[[Environment], None]) -> None:
        while True:
            await self.run_safely(work)
            await asyncio.sleep(seconds)

    async def run_safely(self, work: Callable[..., None], *args: object) -> bool:
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
    mirror.refresh_state(environment, hints)
    health.record_followed(environment, timezone.now())


def sweep(environment: Environment) -> None:
    mirror.sync(environment)


def tail(environment: Environment) -> None:
    """New log lines have no events: ask for them."""
    runs = mirror.recently_active(environment)
    if runs and is_up(environment):
        mirror.tail_logs(environment, runs)


def is_up(environment: Environment) -> bool:
    return health.health_of(environment).state == Health.State.UP


def send_due(environment: Environment) -> None:
    """The time of a planned run has come, or that of a window: django-q2's own clock looks once a minute only."""
    due = RunRequest.objects.filter(
        environment=environment, state=RunRequest.State.APPROVED, next_attempt_at__lte=timezone.now()
    )
    for pk in due.values_list("pk", flat=True)[:MOST_DUE]:
        queue.enqueue("runs.tasks.launch", pk)


def revive(environment: Environment) -> None:
    """Notice at once that a server is back, and send what waited for it."""
    before = health.health_of(environment).state
    if before != Health.State.UP and health.check(environment).state == Health.State.UP:
        queue.enqueue("runs.tasks.sync", environment.pk)
        queue.enqueue("runs.tasks.requeue_due")
