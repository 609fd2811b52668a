"""What the portal answers about work pools."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    is_online: bool
    last_heartbeat: datetime | None


@dataclass(frozen=True, slots=True)
class Depth:
    """Numbers of the runs that you can see: due and not picked up, late of those, picked up and not ended."""

    waiting: int
    late: int
    active: int


@dataclass(frozen=True, slots=True)
class WorkQueue:
    """`priority` 1 is taken first; no `concurrency_limit` is none."""

    name: str
    description: str
    priority: int
    is_paused: bool
    concurrency_limit: int | None
    last_polled_at: datetime | None
    runs: Depth


@dataclass(frozen=True, slots=True)
class WorkPool:
    name: str
    environment: str
    description: str
    type: str
    is_paused: bool
    concurrency_limit: int | None
    workers: list[Worker]
    synced_at: datetime
    url: str

    @property
    def workers_online(self) -> int:
        return sum(worker.is_online for worker in self.workers)


@dataclass(frozen=True, slots=True)
class WorkPoolDetail(WorkPool):
    runs: Depth
    queues: list[WorkQueue]


@dataclass(frozen=True, slots=True)
class ConcurrencyLimit:
    """A global concurrency limit, or that of a `tag` of task runs; inactive, it limits nothing."""

    id: int
    environment: str
    name: str
    tag: str
    concurrency_limit: int
    active_slots: int
    is_active: bool
    slot_decay_per_second: float
    synced_at: datetime
    url: str
