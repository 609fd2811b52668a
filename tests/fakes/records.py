"""Records of Prefect's with plain values: a test names the fields it cares about."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from flows.prefect_api.records import (
    ArtifactRecord,
    DeploymentRecord,
    FlowRunRecord,
    LogRecord,
    ScheduleRecord,
    TaskRunRecord,
    WorkerRecord,
    WorkPoolRecord,
    WorkQueueRecord,
)


def deployment(**fields: Any) -> DeploymentRecord:
    at = datetime.now(UTC)
    plain: dict[str, Any] = {
        "id": uuid4(),
        "flow_id": uuid4(),
        "flow_name": "etl",
        "name": "nightly",
        "description": "",
        "tags": (),
        "parameter_schema": {"type": "object", "properties": {}},
        "parameter_defaults": {},
        "enforces_schema": True,
        "schedules": (),
        "is_paused": False,
        "work_pool_name": "",
        "work_queue_name": "",
        "status": "READY",
        "concurrency_limit": None,
        "version": "",
        "entrypoint": "",
        "path": "",
        "pull_steps": (),
        "storage_document_id": None,
        "infrastructure_document_id": None,
        "job_variables": {},
        "created_at": at,
        "updated_at": at,
    }
    return DeploymentRecord(**plain | fields)


def cron(text: str, *, is_active: bool = True) -> ScheduleRecord:
    return ScheduleRecord(id=uuid4(), description=f"cron {text} (UTC)", is_active=is_active)


def work_pool(**fields: Any) -> WorkPoolRecord:
    plain: dict[str, Any] = {
        "id": uuid4(),
        "name": "pool",
        "type": "process",
        "is_paused": False,
        "concurrency_limit": None,
        "status": "READY",
        "base_job_template": {},
        "description": "",
        "workers": (),
    }
    record = WorkPoolRecord(**plain | fields)
    # Prefect makes one with each pool.
    return record if "queues" in fields else replace(record, queues=(work_queue(pool_id=record.id),))


def work_queue(name: str = "default", **fields: Any) -> WorkQueueRecord:
    plain: dict[str, Any] = {
        "id": uuid4(),
        "pool_id": None,
        "description": "",
        "priority": 1,
        "concurrency_limit": None,
        "is_paused": False,
        "status": "NOT_READY",
        "last_polled": None,
    }
    return WorkQueueRecord(name=name, **plain | fields)


def worker(name: str = "worker", *, is_online: bool = True, **fields: Any) -> WorkerRecord:
    now = datetime.now(UTC)
    return WorkerRecord(name=name, is_online=is_online, **{"last_heartbeat": now, "created_at": now} | fields)


def flow_run(of: DeploymentRecord | None = None, **fields: Any) -> FlowRunRecord:
    """A run that has no state yet, of a deployment or of a flow that was run by hand."""
    at = datetime.now(UTC)
    plain: dict[str, Any] = {
        "id": uuid4(),
        "name": "quiet-otter",
        "flow_id": of.flow_id if of else uuid4(),
        "deployment_id": of.id if of else None,
        "deployment_version": of.version if of else "",
        "parameters": dict(of.parameter_defaults) if of else {},
        "tags": of.tags if of else (),
        "state": None,
        "idempotency_key": None,
        "parent_task_run_id": None,
        "run_count": 0,
        "expected_start_at": at,
        "planned_for": None,
        "started_at": None,
        "ended_at": None,
        "total_run_seconds": 0.0,
        "work_pool_name": of.work_pool_name if of else "",
        "work_queue_name": of.work_queue_name if of else "",
        "infrastructure_pid": "",
        "created_at": at,
        "updated_at": at,
        "auto_scheduled": False,
    }
    return FlowRunRecord(**plain | fields)


def task_run(flow_run_id: UUID, **fields: Any) -> TaskRunRecord:
    at = datetime.now(UTC)
    plain: dict[str, Any] = {
        "id": uuid4(),
        "flow_run_id": flow_run_id,
        "name": "load-0",
        "task_key": "load",
        "state_type": "COMPLETED",
        "state_name": "Completed",
        "message": "",
        "started_at": at,
        "ended_at": at,
        "run_count": 1,
        "total_run_seconds": 0.0,
        "cached": False,
        "upstream": (),
    }
    return TaskRunRecord(**plain | fields)


def artifact(flow_run_id: UUID, **fields: Any) -> ArtifactRecord:
    at = datetime.now(UTC)
    plain: dict[str, Any] = {
        "id": uuid4(),
        "key": "summary",
        "type": "markdown",
        "description": "",
        "data": "All is well.",
        "flow_run_id": flow_run_id,
        "task_run_id": None,
        "created_at": at,
        "updated_at": at,
    }
    return ArtifactRecord(**plain | fields)


def log(flow_run_id: UUID, message: str, **fields: Any) -> LogRecord:
    plain: dict[str, Any] = {
        "id": uuid4(),
        "flow_run_id": flow_run_id,
        "task_run_id": None,
        "level": 20,
        "message": message,
        "timestamp": datetime.now(UTC),
        "logger": "prefect.flow_runs",
    }
    return LogRecord(**plain | fields)
