"""A Prefect with as many deployments and runs as wanted, made when they are read: for `benchmarks.mirror`."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks import fake_world
from flows.prefect_api.records import Credential, DeploymentRecord, FlowRunRecord, StateRecord

BEGAN = datetime.now(UTC).replace(microsecond=0)


class Many:
    """Runs are known by their number; `moved` holds the states of those that changed since."""

    def __init__(self) -> None:
        self.runs = 0
        self.deployments_count = 0
        self.moved: dict[uuid.UUID, StateRecord] = {}

    def deployment_id(self, number: int) -> uuid.UUID:
        return uuid.UUID(int=(1 << 100) + number)

    def run_id(self, number: int) -> uuid.UUID:
        return uuid.UUID(int=(2 << 100) + number)

    def record(self, number: int) -> FlowRunRecord:
        ended = BEGAN - timedelta(minutes=number / 5)
        plain = fake_world.run_of(self.deployment_id(number % self.deployments_count), {"month": "2026-10"}, "")
        state = StateRecord(uuid.UUID(int=(3 << 100) + number), "COMPLETED", "Completed", "", ended)
        return replace(
            plain,
            id=self.run_id(number),
            name=f"run-{number}",
            state=self.moved.get(self.run_id(number), state),
            idempotency_key=None,
            run_count=1,
            total_run_seconds=60.0,
            started_at=ended - timedelta(minutes=1),
            ended_at=ended,
            created_at=ended - timedelta(minutes=2),
            updated_at=ended,
        )

    # What the portal asks.

    def deployments(self) -> Iterator[DeploymentRecord]:
        for number in range(self.deployments_count):
            plain = fake_world.deployment_of(self.deployment_id(number), "1")
            flow = uuid.UUID(int=number + 1)
            yield replace(plain, name=f"nightly-{number}", flow_id=flow, created_at=BEGAN, updated_at=BEGAN)

    def deployments_changed_since(self, since: datetime) -> Iterator[DeploymentRecord]:
        yield next(self.deployments())

    def work_pools(self) -> list[Any]:
        return []

    def active_flow_runs(self) -> Iterator[FlowRunRecord]:
        return iter(())

    def flow_runs_ended_since(self, since: datetime) -> Iterator[FlowRunRecord]:
        for number in range(self.runs):
            record = self.record(number)
            if record.ended_at and record.ended_at < since:
                return
            yield record

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
