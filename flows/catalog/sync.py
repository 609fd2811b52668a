"""The catalog of deployments. The only code that writes `Deployment` and `WorkPool`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from flows import parameters
from flows.catalog import health
from flows.db_text import sanitize_json
from flows.encryption import DecryptionError
from flows.models import Deployment, Environment, WorkPool
from flows.prefect_api import connect
from flows.prefect_api.records import DeploymentRecord, NotFound, PrefectError, WorkPoolRecord

KEY = ["environment", "prefect_id"]
COLUMNS = [f.name for f in Deployment._meta.concrete_fields if f.name not in {"id", *KEY}]
POOL_COLUMNS = [f.name for f in WorkPool._meta.concrete_fields if f.name not in {"id", "environment", "name"}]


@dataclass(frozen=True, slots=True)
class Sync:
    """The result of a sync, in numbers of deployments."""

    seen: int
    new: int
    deleted: int

    def __str__(self) -> str:
        return f"{self.seen} deployments, {self.new} new, {self.deleted} deleted"


def sync(environment: Environment) -> Sync:
    """Read every deployment and work pool of an environment and upsert them.

    Those deleted in Prefect are marked, never deleted: runs and requests refer to them. Raises `PrefectError` or
    `DecryptionError` after recording it in the health.
    """
    # 1. Take the time before reading: what changes meanwhile is newer than this sync.
    now = timezone.now()
    try:
        # 2. Read everything before the transaction: HTTP calls under a row lock would block other syncs.
        client = connect.client_for(environment)
        records = list(client.deployments())
        pools = client.work_pools()
    except (PrefectError, DecryptionError) as error:
        health.record_sync(environment, str(error), at=None)
        health.record_error(environment, error)
        raise
    with transaction.atomic():
        # 3. One sync at a time: two at once would each mark as deleted what only the other has read.
        Environment.objects.select_for_update().get(pk=environment.pk)
        known = set(
            Deployment.objects.filter(environment=environment, deleted_upstream_at=None).values_list(
                "prefect_id", flat=True
            )
        )
        # 4. Upsert what was read, and mark the rest. `synced_at__lt=now` leaves alone what a later sync has written.
        upsert(environment, records, at=now)
        seen = {record.id for record in records}
        deleted = (
            Deployment.objects.filter(environment=environment, deleted_upstream_at=None, synced_at__lt=now)
            .exclude(prefect_id__in=seen)
            .update(deleted_upstream_at=now)
        )
        upsert_work_pools(environment, pools, at=now)
        result = Sync(len(records), len(seen - known), deleted)
        health.record_sync(environment, str(result), at=now)
    return result


def refresh(deployment: Deployment) -> None:
    """Sync one deployment, such as after its schedules were paused. Raises `PrefectError`."""
    now = timezone.now()
    try:
        record = connect.client_for(deployment.environment).deployment(deployment.prefect_id)
    except NotFound:
        Deployment.objects.filter(pk=deployment.pk, deleted_upstream_at=None).update(deleted_upstream_at=now)
        return
    upsert(deployment.environment, [record], at=now)


def upsert(environment: Environment, records: Sequence[DeploymentRecord], *, at: datetime) -> None:
    """Insert or update deployments by their Prefect id."""
    rows = [Deployment(environment=environment, prefect_id=record.id, **columns(record, at)) for record in records]
    # Sanitized, because one character that Postgres cannot store would fail the sync of the whole environment.
    Deployment.objects.bulk_create(
        map(sanitize_json, rows), update_conflicts=True, unique_fields=KEY, update_fields=COLUMNS, batch_size=200
    )


def columns(record: DeploymentRecord, at: datetime) -> dict[str, Any]:
    """Return the columns of a deployment, without its key."""
    return {
        "flow_id": record.flow_id,
        "flow_name": record.flow_name,
        "name": record.name,
        "full_name": f"{record.flow_name}/{record.name}",
        "description": record.description,
        "tags": list(record.tags),
        "parameter_schema": record.parameter_schema,
        "parameter_defaults": record.parameter_defaults,
        "schema_fingerprint": parameters.fingerprint(record.parameter_schema),
        "enforces_schema": record.enforces_schema,
        "schedules": [{"description": s.description, "is_active": s.is_active} for s in record.schedules],
        "is_paused": record.is_paused,
        "work_pool_name": record.work_pool_name,
        "work_queue_name": record.work_queue_name,
        "status": record.status,
        "concurrency_limit": record.concurrency_limit,
        "version": record.version,
        "entrypoint": record.entrypoint,
        "job_variables": record.job_variables,
        "created_upstream_at": record.created_at,
        "updated_upstream_at": record.updated_at,
        "synced_at": at,
        "deleted_upstream_at": None,  # it is there again, also after it was marked as deleted
    }


def upsert_work_pools(environment: Environment, records: Iterable[WorkPoolRecord], *, at: datetime) -> None:
    """Insert or update work pools by name, and delete those that were not read."""
    rows = [
        WorkPool(
            environment=environment,
            name=record.name,
            type=record.type,
            is_paused=record.is_paused,
            status=record.status,
            concurrency_limit=record.concurrency_limit,
            workers=[
                {
                    "name": worker.name,
                    "last_heartbeat": worker.last_heartbeat.isoformat() if worker.last_heartbeat else None,
                    "is_online": worker.is_online,
                }
                for worker in record.workers
            ],
            synced_at=at,
        )
        for record in records
    ]
    WorkPool.objects.bulk_create(
        map(sanitize_json, rows),
        update_conflicts=True,
        unique_fields=["environment", "name"],
        update_fields=POOL_COLUMNS,
    )
    # Deleted and not marked: nothing refers to a work pool.
    WorkPool.objects.filter(environment=environment, synced_at__lt=at).delete()
