"""Routes of work pools and their queues."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router

from flows.models import WorkPool, WorkQueue
from portal.api import paging
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.paging import Row
from portal.api.problems import PROBLEMS
from runs.access.decisions import Permissions
from runs.work_pools import WORK_POOLS, Depth, depth_of, depths

router = Router(tags=["Work pools"])
PoolFilters = paging.filters_of(WORK_POOLS)
POOL = "/environments/{environment}/work-pools/{pool}"


class WorkerPart(Row):
    name: str
    is_online: bool
    last_heartbeat: datetime | None


class PoolRow(Row):
    name: str = Field(examples=["kubernetes"])
    environment: str
    description: str
    type: str = Field(examples=["process"])
    is_paused: bool
    concurrency_limit: int | None = Field(description="Runs at a time; null is without limit.")
    workers: list[WorkerPart]
    synced_at: datetime
    url: str

    @classmethod
    def of(cls, row: WorkPool) -> PoolRow:
        return cls(**pool_columns(row))


class DepthPart(Row):
    """Numbers of the runs that you can see."""

    waiting: int = Field(description="Due and not picked up by a worker.")
    late: int = Field(description="Those of them that have waited longer than the environment allows.")
    active: int = Field(description="Picked up by a worker and not ended.")

    @classmethod
    def of(cls, depth: Depth) -> DepthPart:
        return cls(waiting=depth.waiting, late=depth.late, active=depth.taken)


class QueuePart(Row):
    name: str = Field(examples=["default"])
    description: str
    priority: int = Field(description="1 is taken first.")
    is_paused: bool
    concurrency_limit: int | None
    last_polled_at: datetime | None = Field(description="When a worker last asked for its runs.")
    runs: DepthPart

    @classmethod
    def of(cls, row: WorkQueue, depth: Depth) -> QueuePart:
        return cls(
            name=row.name,
            description=row.description,
            priority=row.priority,
            is_paused=row.is_paused,
            concurrency_limit=row.concurrency_limit,
            last_polled_at=row.last_polled_at,
            runs=DepthPart.of(depth),
        )


class PoolDetail(PoolRow):
    """A work pool with its queues, those that are taken first on top."""

    runs: DepthPart
    queues: list[QueuePart]

    @classmethod
    def seen(cls, row: WorkPool, permissions: Permissions) -> PoolDetail:
        found = depths([row], permissions)
        return cls(
            **pool_columns(row),
            runs=DepthPart.of(depth_of(row, found)),
            queues=[
                QueuePart.of(queue, found.get((row.environment_id, row.name, queue.name), Depth()))
                for queue in row.queues.all()
            ],
        )


def pool_columns(row: WorkPool) -> dict[str, Any]:
    return {
        "name": row.name,
        "environment": row.environment.slug,
        "description": row.description,
        "type": row.type,
        "is_paused": row.is_paused,
        "concurrency_limit": row.concurrency_limit,
        "workers": [
            WorkerPart(name=each["name"], is_online=each["is_online"], last_heartbeat=each["last_heartbeat"])
            for each in row.workers
        ],
        "synced_at": row.synced_at,
        "url": link("flows_workpool_change", row.pk),
    }


@router.get("/work-pools", response={200: paging.page_of(PoolRow), **PROBLEMS}, summary="List work pools")
def list_pools(request: HttpRequest, query: Query[PoolFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, WORK_POOLS, query, PoolRow, PoolRow.of)


@router.get(POOL, response={200: PoolDetail, **PROBLEMS}, summary="Read a work pool with its queues")
def read_pool(request: HttpRequest, environment: str, pool: str) -> PoolDetail:
    by = actor_of(request)
    permissions = Permissions.of(by)
    rows = WORK_POOLS.rows(by, {"environment": environment}, permissions=permissions)
    return PoolDetail.seen(one(rows, "work pool", name=pool), permissions)
