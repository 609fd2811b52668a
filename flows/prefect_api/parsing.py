"""Parses Prefect's JSON into records: tolerant of missing and new fields, strict only about ids."""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from uuid import UUID

from flows import plain_text
from flows.prefect_api.records import (
    JSON,
    ArtifactRecord,
    AutomationRecord,
    AutomationStart,
    DeploymentRecord,
    EventRecord,
    FlowRunRecord,
    GlobalLimitRecord,
    LogRecord,
    ScheduleRecord,
    StateRecord,
    TaskRunRecord,
    WorkerRecord,
    WorkPoolRecord,
    WorkQueueRecord,
)
from flows.prefect_api.schedule_text import describe

type Raw = Mapping[str, JSON]

EPOCH = datetime.fromtimestamp(0, UTC)
# Actions of automations that start runs, or let schedules start them.
STARTS = ("run-deployment", "resume-deployment")
EVENT_PREFIXES = ("prefect.flow-run.", "prefect.task-run.")
_RUN_RESOURCE = "prefect.flow-run."


class Unreadable(Exception):
    """The response is not what Prefect sends."""


def deployment(raw: Raw, flow_name: str) -> DeploymentRecord:
    return DeploymentRecord(
        id=identity(raw, "id"),
        flow_id=identity(raw, "flow_id"),
        flow_name=flow_name,
        name=_name(raw, "name"),
        description=_prose(raw, "description"),
        tags=_names(raw, "tags"),
        parameter_schema=_mapping(raw, "parameter_openapi_schema"),
        parameter_defaults=_mapping(raw, "parameters"),
        enforces_schema=_flag(raw, "enforce_parameter_schema"),
        # In a fixed order, so that a reordered list does not look like a changed deployment.
        schedules=tuple(sorted((_schedule(each) for each in _rows(raw, "schedules")), key=lambda one: one.id)),
        is_paused=_flag(raw, "paused"),
        work_pool_name=_text(raw, "work_pool_name"),
        work_queue_name=_text(raw, "work_queue_name"),
        status=_text(raw, "status"),
        concurrency_limit=_concurrency(raw),
        version=_text(raw, "version"),
        entrypoint=_text(raw, "entrypoint"),
        path=_text(raw, "path"),
        pull_steps=tuple(_rows(raw, "pull_steps")),
        storage_document_id=id_or_none(raw, "storage_document_id"),
        infrastructure_document_id=id_or_none(raw, "infrastructure_document_id"),
        job_variables=_mapping(raw, "job_variables"),
        created_at=_moment(raw, "created"),
        updated_at=_moment(raw, "updated"),
        concurrency_options=_mapping(raw, "concurrency_options"),
        limit_name=_text(_mapping(raw, "global_concurrency_limit"), "name"),
    )


def work_pool(
    raw: Raw, workers: tuple[WorkerRecord, ...] = (), queues: tuple[WorkQueueRecord, ...] = ()
) -> WorkPoolRecord:
    return WorkPoolRecord(
        id=identity(raw, "id"),
        name=_text(raw, "name"),
        type=_text(raw, "type"),
        is_paused=_flag(raw, "is_paused"),
        concurrency_limit=_limit(raw),
        status=_text(raw, "status"),
        base_job_template=_mapping(raw, "base_job_template"),
        description=_prose(raw, "description"),
        workers=workers,
        queues=queues,
    )


def work_queue(raw: Raw) -> WorkQueueRecord:
    return WorkQueueRecord(
        id=identity(raw, "id"),
        pool_id=id_or_none(raw, "work_pool_id"),
        name=_text(raw, "name"),
        description=_prose(raw, "description"),
        # 1 is the highest; every queue has one.
        priority=int(_number(raw, "priority")) or 1,
        concurrency_limit=_limit(raw),
        is_paused=_flag(raw, "is_paused"),
        status=_text(raw, "status"),
        last_polled=_moment(raw, "last_polled"),
    )


def worker(raw: Raw) -> WorkerRecord:
    return WorkerRecord(
        name=_name(raw, "name"),
        last_heartbeat=_moment(raw, "last_heartbeat_time"),
        is_online=_text(raw, "status") == "ONLINE",
        created_at=_moment(raw, "created"),
    )


def global_limit(raw: Raw) -> GlobalLimitRecord:
    return GlobalLimitRecord(
        id=identity(raw, "id"),
        name=_text(raw, "name"),
        concurrency_limit=int(_number(raw, "limit")),
        active_slots=int(_number(raw, "active_slots")),
        is_active=_flag(raw, "active"),
        slot_decay_per_second=float(_number(raw, "slot_decay_per_second")),
    )


def automation(raw: Raw) -> AutomationRecord:
    actions = [each for key in ("actions", "actions_on_trigger", "actions_on_resolve") for each in _rows(raw, key)]
    starts = [
        AutomationStart(_text(each, "type"), id_or_none(each, "deployment_id"))
        for each in actions
        if _text(each, "type") in STARTS
    ]
    return AutomationRecord(
        id=identity(raw, "id"),
        name=_name(raw, "name"),
        is_enabled=_flag(raw, "enabled"),
        starts=tuple(dict.fromkeys(starts)),
    )


def state(raw: Raw) -> StateRecord:
    return StateRecord(
        id=identity(raw, "id"),
        type=_text(raw, "type"),
        name=_line(raw, "name"),
        message=_prose(raw, "message"),
        # A state without a time sorts first, and never wins over one that the mirror has already.
        timestamp=_moment(raw, "timestamp") or EPOCH,
    )


def flow_run(raw: Raw) -> FlowRunRecord:
    raw_state = raw.get("state")
    return FlowRunRecord(
        id=identity(raw, "id"),
        name=_line(raw, "name"),
        flow_id=identity(raw, "flow_id"),
        deployment_id=id_or_none(raw, "deployment_id"),
        deployment_version=_text(raw, "deployment_version"),
        parameters=_mapping(raw, "parameters"),
        tags=_names(raw, "tags"),
        state=state(raw_state) if isinstance(raw_state, dict) else None,
        idempotency_key=_text(raw, "idempotency_key") or None,
        parent_task_run_id=id_or_none(raw, "parent_task_run_id"),
        run_count=int(_number(raw, "run_count")),
        expected_start_at=_moment(raw, "expected_start_time"),
        planned_for=_moment(raw, "next_scheduled_start_time"),
        started_at=_moment(raw, "start_time"),
        ended_at=_moment(raw, "end_time"),
        total_run_seconds=_number(raw, "total_run_time"),
        work_pool_name=_text(raw, "work_pool_name"),
        work_queue_name=_text(raw, "work_queue_name"),
        infrastructure_pid=_text(raw, "infrastructure_pid"),
        created_at=_moment(raw, "created"),
        updated_at=_moment(raw, "updated"),
        auto_scheduled=_flag(raw, "auto_scheduled"),
        job_variables=_mapping(raw, "job_variables"),
    )


def created(raw: Raw) -> list[UUID | None]:
    """Return the ids of a bulk create, None for each that failed; its errors can quote values and are not read."""
    results = _rows(raw, "results")
    return [id_or_none(each, "flow_run_id") if _text(each, "status") == "CREATED" else None for each in results]


def artifact(raw: Raw) -> ArtifactRecord:
    data = raw.get("data")
    if _text(raw, "type") == "table" and isinstance(data, str):
        # Prefect's client sends the rows of a table as JSON text; what is none is shown as the text that it is.
        with suppress(ValueError, RecursionError):
            data = json.loads(data)
    return ArtifactRecord(
        id=identity(raw, "id"),
        key=_name(raw, "key"),
        type=_text(raw, "type"),
        description=_prose(raw, "description"),
        data=data,
        flow_run_id=id_or_none(raw, "flow_run_id"),
        task_run_id=id_or_none(raw, "task_run_id"),
        created_at=_moment(raw, "created"),
        updated_at=_moment(raw, "updated"),
    )


def task_run(raw: Raw) -> TaskRunRecord:
    raw_state = raw.get("state")
    inner = raw_state if isinstance(raw_state, dict) else {}
    state_name = _line(inner, "name") or _line(raw, "state_name")
    return TaskRunRecord(
        id=identity(raw, "id"),
        flow_run_id=id_or_none(raw, "flow_run_id"),
        name=_line(raw, "name"),
        task_key=_text(raw, "task_key"),
        state_type=_text(inner, "type") or _text(raw, "state_type"),
        state_name=state_name,
        message=_prose(inner, "message"),
        started_at=_moment(raw, "start_time"),
        ended_at=_moment(raw, "end_time"),
        run_count=int(_number(raw, "run_count")),
        total_run_seconds=_number(raw, "total_run_time"),
        # Prefect has no flag: a result taken from the cache is a COMPLETED state with this name.
        cached=state_name == "Cached",
        upstream=tuple(dict.fromkeys(_upstream(_mapping(raw, "task_inputs")))),
    )


def _upstream(inputs: Mapping[str, JSON]) -> Iterator[UUID]:
    """Yield the task runs that are inputs, parameter by parameter; `wait_for` is one of them."""
    for name in inputs:
        # The task that called it is no input: both run at the same time.
        for each in _rows(inputs, name) if name != "__parents__" else ():
            if each.get("input_type") == "task_run" and (found := id_or_none(each, "id")):
                yield found


def log(raw: Raw) -> LogRecord:
    return LogRecord(
        id=identity(raw, "id"),
        flow_run_id=id_or_none(raw, "flow_run_id"),
        task_run_id=id_or_none(raw, "task_run_id"),
        level=int(_number(raw, "level")),
        message=_prose(raw, "message"),
        timestamp=_moment(raw, "timestamp") or EPOCH,
        logger=_text(raw, "name"),
    )


def event(raw: Raw) -> EventRecord | None:
    """Return the flow run of an event of a flow run or task run, else None."""
    kind = _text(raw, "event")
    if not kind.startswith(EVENT_PREFIXES):
        return None
    for resource in (_mapping(raw, "resource"), *_rows(raw, "related")):
        name = _text(resource, "prefect.resource.id")
        # A task run's event also names the parent of a subflow; only the role "flow-run" is the run itself.
        if name.startswith(_RUN_RESOURCE) and _text(resource, "prefect.resource.role") in ("", "flow-run"):
            try:
                return EventRecord(flow_run_id=UUID(name.removeprefix(_RUN_RESOURCE)), kind=kind)
            except ValueError:
                continue
    return None


def heartbeat(raw: Raw) -> tuple[UUID, datetime] | None:
    """Return the flow run and the time of a heartbeat, else None."""
    record, at = event(raw), _moment(raw, "occurred")
    return (record.flow_run_id, at) if record and at else None


def _schedule(raw: Raw) -> ScheduleRecord:
    return ScheduleRecord(
        id=identity(raw, "id"),
        description=plain_text.line(describe(_mapping(raw, "schedule"))),
        is_active=_flag(raw, "active"),
        # Not cleaned: they are compared with what was sent.
        slug=_text(raw, "slug"),
        rule={key: value for key, value in _mapping(raw, "schedule").items() if value is not None},
        parameters=_mapping(raw, "parameters"),
    )


def _concurrency(raw: Raw) -> int | None:
    """Return a deployment's limit: newer servers send it as an object, and the plain field stays empty."""
    limit = raw.get("global_concurrency_limit")
    value = limit.get("limit") if isinstance(limit, dict) else raw.get("concurrency_limit")
    return value if isinstance(value, int) else None


def _limit(raw: Raw) -> int | None:
    value = raw.get("concurrency_limit")
    return value if isinstance(value, int) else None


def identity(raw: Raw, key: str) -> UUID:
    found = id_or_none(raw, key)
    if found is None:
        raise Unreadable(key)
    return found


def id_or_none(raw: Raw, key: str) -> UUID | None:
    value = raw.get(key)
    try:
        return UUID(value) if isinstance(value, str) else None
    except ValueError:
        return None


def _text(raw: Raw, key: str) -> str:
    # null and a missing field are the same here: other versions leave fields out.
    value = raw.get(key)
    return "" if value is None else str(value)


# What is read is cleaned here, once. What is compared, sent back or hashed is not: parameters, keys, entrypoints, the
# names of work pools, with which Prefect finds them.


def _prose(raw: Raw, key: str) -> str:
    return plain_text.prose(_text(raw, key))


def _line(raw: Raw, key: str) -> str:
    return plain_text.line(_text(raw, key))


def _name(raw: Raw, key: str) -> str:
    return plain_text.name(_text(raw, key))


def _names(raw: Raw, key: str) -> tuple[str, ...]:
    value = raw.get(key)
    texts = map(str, value) if isinstance(value, list) else ()
    # A blank tag says nothing, and would be an empty choice of a filter.
    return tuple(plain_text.name(each) for each in texts if each.strip())


def _number(raw: Raw, key: str) -> float:
    value = raw.get(key)
    return value if isinstance(value, int | float) else 0.0


def _flag(raw: Raw, key: str) -> bool:
    # Only a JSON true: a text such as "false" would be true to Python.
    return raw.get(key) is True


def _mapping(raw: Raw, key: str) -> dict[str, JSON]:
    value = raw.get(key)
    return value if isinstance(value, dict) else {}


def _rows(raw: Raw, key: str) -> list[dict[str, JSON]]:
    value = raw.get(key)
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _moment(raw: Raw, key: str) -> datetime | None:
    value = raw.get(key)
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    if moment is None:
        return None
    # A time without an offset is UTC in Prefect.
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
