"""Work pools and their queues. The only code that writes `WorkPool` and `WorkQueue`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from flows import job_variables
from flows.db_text import sanitize_json
from flows.models import Environment, WorkPool, WorkQueue
from flows.prefect_api import connect
from flows.prefect_api.records import WorkerRecord, WorkPoolRecord, WorkQueueRecord
from flows.scopes import Kind

POOL_COLUMNS = [f.name for f in WorkPool._meta.concrete_fields if f.name not in {"id", "environment", "name"}]
QUEUE_COLUMNS = [f.name for f in WorkQueue._meta.concrete_fields if f.name not in {"id", "pool", "name"}]


def refresh(environment: Environment) -> None:
    """Sync the work pools of an environment, such as after one was paused. Raises `PrefectError`."""
    now = timezone.now()
    records = connect.client_for(environment.server).work_pools()
    with transaction.atomic():
        Environment.objects.select_for_update().get(pk=environment.pk)
        upsert(environment, own(environment, records), at=now)


def own(environment: Environment, records: Sequence[WorkPoolRecord]) -> list[WorkPoolRecord]:
    """Return the work pools that belong to an environment.

    Of a scope by tags or names that is none: any deployment of the server can use them, and a pool that is paused
    stops the runs of all.
    """
    if environment.scope_kind == Kind.SERVER:
        return list(records)
    return [each for each in records if environment.scope_kind == Kind.POOLS and each.name in environment.scope_values]


def upsert(environment: Environment, records: Iterable[WorkPoolRecord], *, at: datetime) -> None:
    """Insert or update work pools and their queues by name, and mark those that were not read.

    The caller is in a transaction that holds the lock on the environment. Does nothing if a later reading was written:
    it would bring back old values.
    """
    records = list(records)
    if WorkPool.objects.filter(environment=environment, synced_at__gt=at).exists():
        return
    WorkPool.objects.bulk_create(
        [sanitize_json(pool_row(environment, record, at)) for record in records],
        update_conflicts=True,
        unique_fields=["environment", "name"],
        update_fields=POOL_COLUMNS,
    )
    keys = dict(WorkPool.objects.filter(environment=environment, synced_at=at).values_list("prefect_id", "pk"))
    WorkQueue.objects.bulk_create(
        [
            sanitize_json(queue_row(keys[record.id], queue, at))
            for record in records
            if record.id in keys
            for queue in record.queues
        ],
        update_conflicts=True,
        unique_fields=["pool", "name"],
        update_fields=QUEUE_COLUMNS,
    )
    WorkPool.current.filter(environment=environment, synced_at__lt=at).update(deleted_upstream_at=at)
    WorkQueue.current.filter(pool__environment=environment, synced_at__lt=at).update(deleted_upstream_at=at)


def pool_row(environment: Environment, record: WorkPoolRecord, at: datetime) -> WorkPool:
    return WorkPool(
        environment=environment,
        prefect_id=record.id,
        name=record.name,
        description=record.description,
        type=record.type,
        is_paused=record.is_paused,
        status=record.status,
        concurrency_limit=record.concurrency_limit,
        workers=[worker_columns(worker) for worker in record.workers],
        variables=job_variables.schema_of(record.base_job_template),
        synced_at=at,
    )


def worker_columns(worker: WorkerRecord) -> dict[str, str | bool | None]:
    return {
        "name": worker.name,
        "last_heartbeat": worker.last_heartbeat.isoformat() if worker.last_heartbeat else None,
        "is_online": worker.is_online,
        "created_at": worker.created_at.isoformat() if worker.created_at else None,
    }


def queue_row(pool: int, record: WorkQueueRecord, at: datetime) -> WorkQueue:
    return WorkQueue(
        pool_id=pool,
        prefect_id=record.id,
        name=record.name,
        description=record.description,
        priority=record.priority,
        concurrency_limit=record.concurrency_limit,
        is_paused=record.is_paused,
        status=record.status,
        last_polled_at=record.last_polled,
        synced_at=at,
    )
