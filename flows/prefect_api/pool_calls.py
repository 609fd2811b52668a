"""Reads work pools with their workers and queues, and changes their limits."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from urllib.parse import quote
from uuid import UUID

from flows.prefect_api import parsing
from flows.prefect_api.pagination import PAGE, Paginator
from flows.prefect_api.parsing import Raw
from flows.prefect_api.records import JSON, NotFound, WorkerRecord, WorkPoolRecord, WorkQueueRecord
from flows.prefect_api.transport import Transport

# What may be changed: an allow-list, because a PATCH could also replace the template of all jobs.
POOL_COLUMNS = frozenset({"is_paused", "concurrency_limit"})
QUEUE_COLUMNS = POOL_COLUMNS | {"priority"}


def pool_path(name: str) -> str:
    return f"/work_pools/{quote(name, safe='')}"


def read_all(pages: Paginator) -> list[WorkPoolRecord]:
    """Return every work pool with its workers and queues: one call for each pool besides the lists."""
    pools = [raw for page in pages.by_offset("/work_pools/filter", {}, act="list the work pools") for raw in page]
    queues = read_queues(pages, pools)
    return [
        pages.record(parsing.work_pool, raw, read_workers(pages, str(raw.get("name", ""))), queues.get(pk, ()))
        for raw in pools
        for pk in [pages.record(parsing.identity, raw, "id")]
    ]


def read_queues(pages: Paginator, pools: list[Raw]) -> dict[UUID, tuple[WorkQueueRecord, ...]]:
    """Return the queues by the id of their pool, those that are taken first on top."""
    # The list of all queues is sorted by name alone, and each pool has one called "default": an offset could skip some.
    # One page needs no offset; for more, each pool is asked, whose list is sorted by priority.
    found = pages.rows("/work_queues/filter", {"limit": PAGE}, act="list the work queues")
    if len(found) == PAGE:
        found = [raw for pool in pools for raw in queues_of(pages, str(pool.get("name", "")))]
    by_pool: dict[UUID, list[WorkQueueRecord]] = defaultdict(list)
    for record in (pages.record(parsing.work_queue, raw) for raw in found):
        if record.pool_id:
            by_pool[record.pool_id].append(record)
    return {pk: tuple(sorted(each, key=lambda one: (one.priority, one.name))) for pk, each in by_pool.items()}


def queues_of(pages: Paginator, pool: str) -> list[Raw]:
    try:
        found = pages.by_offset(f"{pool_path(pool)}/queues/filter", {}, act=f"list the queues of work pool {pool}")
        return [raw for page in found for raw in page]
    except NotFound:
        return []  # the pool was deleted after it was listed


def read_workers(pages: Paginator, pool: str) -> tuple[WorkerRecord, ...]:
    try:
        found = list(
            pages.by_offset(f"{pool_path(pool)}/workers/filter", {}, act=f"list the workers of work pool {pool}")
        )
    except NotFound:
        return ()  # the pool was deleted after it was listed
    return tuple(pages.record(parsing.worker, raw) for page in found for raw in page)


def change(transport: Transport, name: str, changes: Mapping[str, JSON]) -> None:
    require_allowed(changes, POOL_COLUMNS)
    transport.write(pool_path(name), dict(changes), act=f"change work pool {name}", method="PATCH")


def change_queue(transport: Transport, pool: str, name: str, changes: Mapping[str, JSON]) -> None:
    require_allowed(changes, QUEUE_COLUMNS)
    path = f"{pool_path(pool)}/queues/{quote(name, safe='')}"
    transport.write(path, dict(changes), act=f"change queue {name} of work pool {pool}", method="PATCH")


def require_allowed(changes: Mapping[str, JSON], columns: frozenset[str]) -> None:
    if others := changes.keys() - columns:
        raise ValueError(f"These columns are never sent: {', '.join(sorted(others))}.")
