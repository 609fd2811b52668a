"""A Prefect with as many deployments and runs as wanted, made when they are read: for `benchmarks.mirror`."""

from __future__ import annotations

import asyncio
import uuid
from collections import deque
from collections.abc import AsyncIterator, Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import fake_world
from flows.prefect_api.records import (
    Credential,
    DeploymentRecord,
    EventRecord,
    FlowRunRecord,
    ServerRecord,
    StateRecord,
)

BEGAN = datetime.now(UTC).replace(microsecond=0)


class Many:
    """Runs are known by their number; `moved` holds the states of those that changed since, `stream` their events."""

    def __init__(self) -> None:
        self.runs = 0
        self.deployments_count = 0
        self.moved: dict[uuid.UUID, StateRecord] = {}
        self.stream: deque[EventRecord] = deque()

    def deployment_id(self, number: int) -> uuid.UUID:
        return uuid.UUID(int=(1 << 100) + number)

    def run_id(self, number: int) -> uuid.UUID:
        return uuid.UUID(int=(2 << 100) + number)

    def record(self, number: int) -> FlowRunRecord:
        ended: datetime | None = BEGAN - timedelta(minutes=number / 5)
        state = self.moved.get(self.run_id(number))
        if state is not None:
            ended = state.timestamp if state.is_terminal else None
        began = (ended or BEGAN) - timedelta(minutes=1)
        plain = fake_world.run_of(self.deployment_id(number % self.deployments_count), {"month": "2026-10"}, "")
        first = StateRecord(uuid.UUID(int=(3 << 100) + number), "COMPLETED", "Completed", "", ended or BEGAN)
        return replace(
            plain,
            id=self.run_id(number),
            name=f"run-{number}",
            state=state or first,
            idempotency_key=None,
            run_count=1,
            total_run_seconds=60.0,
            started_at=began,
            ended_at=ended,
            created_at=began - timedelta(minutes=1),
            updated_at=ended,
        )

    # What the portal asks.

    def health(self) -> ServerRecord:
        return ServerRecord("3.9.1")

    def deployments(self) -> Iterator[DeploymentRecord]:
        for number in range(self.deployments_count):
            plain = fake_world.deployment_of(self.deployment_id(number), "1")
            flow = uuid.UUID(int=number + 1)
            yield replace(plain, name=f"nightly-{number}", flow_id=flow, created_at=BEGAN, updated_at=BEGAN)

    def deployments_changed_since(self, since: datetime) -> Iterator[DeploymentRecord]:
        yield next(self.deployments())

    def automations(self) -> list[Any]:
        return []

    def work_pools(self) -> list[Any]:
        return []

    def active_flow_runs(self) -> Iterator[FlowRunRecord]:
        return iter(self.flow_runs([each for each, state in self.moved.items() if not state.is_terminal]))

    def flow_runs_ended_since(self, since: datetime, *, until: datetime | None = None) -> Iterator[FlowRunRecord]:
        until = until or datetime.max.replace(tzinfo=UTC)
        ended = [(state.timestamp, each) for each, state in self.moved.items() if state.is_terminal]
        yield from self.flow_runs([each for at, each in sorted(ended, reverse=True) if since <= at <= until])
        # The number of a run says when it ended.
        for number in range(max(0, int((BEGAN - until).total_seconds() // 12)), self.runs):
            record = self.record(number)
            if self.run_id(number) in self.moved or (record.ended_at and record.ended_at > until):
                continue
            if record.ended_at and record.ended_at < since:
                return
            yield record

    def states(self, flow_run_id: uuid.UUID) -> list[StateRecord]:
        return [self.moved[flow_run_id]] if flow_run_id in self.moved else []

    async def events(self) -> AsyncIterator[EventRecord]:
        while True:
            while self.stream:
                yield self.stream.popleft()
            await asyncio.sleep(0.01)

    async def log_hints(self) -> AsyncIterator[uuid.UUID]:
        while True:
            await asyncio.sleep(60)
            for each in ():
                yield each

    def move(self, ids: Collection[uuid.UUID], state: str, *, lose: int = 0) -> None:
        """Have runs change their state now; of `lose` in ten the events are lost."""
        now = datetime.now(UTC)
        self.moved |= {each: StateRecord(uuid.uuid4(), state, state.title(), "it broke", now) for each in ids}
        named = [each for number, each in enumerate(ids) if number % 10 >= lose]
        self.stream += [EventRecord(each, f"prefect.flow-run.{state.title()}") for each in named]

    def flow_runs(self, ids: Collection[uuid.UUID]) -> list[FlowRunRecord]:
        return [self.record(each.int - (2 << 100)) for each in ids]

    def flow_runs_of_tasks(self, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, uuid.UUID]:
        return {}

    def flow_names(self, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, str]:
        return {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *arguments, **names: []


prefect = Many()


def connect(api_url: str, credential: Credential) -> Many:
    return prefect
