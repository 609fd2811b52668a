"""What the client returns and raises: frozen records of Prefect's objects, and one tree of errors."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal
from uuid import UUID

type JSON = dict[str, JSON] | list[JSON] | str | int | float | bool | None

TERMINAL = frozenset({"COMPLETED", "FAILED", "CRASHED", "CANCELLED"})


type CredentialKind = Literal["none", "basic", "key"]


@dataclass(frozen=True, slots=True)
class Credential:
    """The credential of an environment: none, `user:password`, or a Cloud API key."""

    kind: CredentialKind = "none"
    secret: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ServerRecord:
    version: str


@dataclass(frozen=True, slots=True)
class WorkerRecord:
    name: str
    last_heartbeat: datetime | None
    is_online: bool
    # When a worker of this name was first heard of.
    created_at: datetime | None


@dataclass(frozen=True, slots=True)
class WorkQueueRecord:
    id: UUID
    pool_id: UUID | None
    name: str
    description: str
    priority: int
    concurrency_limit: int | None
    is_paused: bool
    status: str
    last_polled: datetime | None


@dataclass(frozen=True, slots=True)
class WorkPoolRecord:
    id: UUID
    name: str
    type: str
    is_paused: bool
    concurrency_limit: int | None
    status: str
    # Out of the repr: the defaults of its variables may be secret.
    base_job_template: dict[str, JSON] = field(repr=False, default_factory=dict)
    description: str = ""
    workers: tuple[WorkerRecord, ...] = ()
    queues: tuple[WorkQueueRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class GlobalLimitRecord:
    """A concurrency limit that is not one of a pool, queue or deployment; that of a tag is named “tag:…”."""

    id: UUID
    name: str
    concurrency_limit: int
    active_slots: int
    is_active: bool
    slot_decay_per_second: float


@dataclass(frozen=True, slots=True)
class AutomationStart:
    """An action that starts runs: of a deployment, or None for the one that the triggering event names."""

    action: str
    deployment_id: UUID | None


@dataclass(frozen=True, slots=True)
class AutomationRecord:
    id: UUID
    name: str
    is_enabled: bool
    starts: tuple[AutomationStart, ...]


@dataclass(frozen=True, slots=True)
class ScheduleRecord:
    """A schedule of a deployment; `rule` is as Prefect spells it: cron, interval or rrule, with its time zone."""

    id: UUID
    description: str
    is_active: bool
    # Empty for one whose deployer gave it none: those are made again with each deployment.
    slug: str = ""
    rule: dict[str, JSON] = field(default_factory=dict)
    parameters: dict[str, JSON] = field(repr=False, default_factory=dict)


# Values typed by people (parameters, job variables) stay out of every repr: Prefect stores secret parameters in clear
# text, and a repr ends in logs and tracebacks.


@dataclass(frozen=True, slots=True)
class DeploymentRecord:
    id: UUID
    flow_id: UUID
    flow_name: str
    name: str
    description: str
    tags: tuple[str, ...]
    parameter_schema: dict[str, JSON] = field(repr=False)
    parameter_defaults: dict[str, JSON] = field(repr=False)
    enforces_schema: bool
    schedules: tuple[ScheduleRecord, ...]
    is_paused: bool
    work_pool_name: str
    work_queue_name: str
    status: str
    concurrency_limit: int | None
    version: str
    entrypoint: str
    path: str
    pull_steps: tuple[dict[str, JSON], ...] = field(repr=False)
    storage_document_id: UUID | None
    infrastructure_document_id: UUID | None
    job_variables: dict[str, JSON] = field(repr=False)
    created_at: datetime | None
    updated_at: datetime | None
    # As Prefect has them: a change of one sends the others back. Empty where no limit was ever set.
    concurrency_options: dict[str, JSON] = field(default_factory=dict)
    # Of the global concurrency limit that is its limit; several deployments can share one.
    limit_name: str = ""

    @property
    def shared_limit(self) -> str:
        """The name of its limit if it is not its own alone, else empty."""
        return "" if self.limit_name in ("", f"deployment:{self.id}") else self.limit_name


@dataclass(frozen=True, slots=True)
class StateRecord:
    """One state of a flow run. `type` is Prefect's, in capitals; unknown ones are passed on unchanged."""

    id: UUID
    type: str
    name: str
    message: str
    timestamp: datetime

    @property
    def is_terminal(self) -> bool:
        return self.type in TERMINAL


@dataclass(frozen=True, slots=True)
class FlowRunRecord:
    """One flow run.

    `expected_start_at` is its first scheduled time and never changes; `planned_for` is the current one until it starts.
    """

    id: UUID
    name: str
    flow_id: UUID
    deployment_id: UUID | None
    deployment_version: str
    parameters: dict[str, JSON] = field(repr=False)
    tags: tuple[str, ...]
    state: StateRecord | None
    idempotency_key: str | None
    parent_task_run_id: UUID | None
    run_count: int
    expected_start_at: datetime | None
    planned_for: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    total_run_seconds: float
    work_pool_name: str
    work_queue_name: str
    infrastructure_pid: str
    created_at: datetime | None
    updated_at: datetime | None
    auto_scheduled: bool
    # Those of the run itself; they replace those of its deployment.
    job_variables: dict[str, JSON] = field(repr=False, default_factory=dict)


@dataclass(frozen=True, slots=True)
class NewFlowRun:
    """What is sent to create a flow run: an allow-list, see `PrefectClient.create_flow_run`."""

    parameters: Mapping[str, JSON] = field(repr=False)
    idempotency_key: str
    name: str | None
    tags: tuple[str, ...]
    scheduled_for: datetime | None
    # Of a resource profile; empty, the run is started as its deployment says.
    job_variables: Mapping[str, JSON] = field(repr=False, default_factory=dict)
    work_queue_name: str = ""


@dataclass(frozen=True, slots=True)
class TaskRunRecord:
    """One task run. `task_key` is the stable name of the task; `cached`: the result came from the cache.

    `upstream` are the task runs whose results it received or that it waited for.
    """

    id: UUID
    flow_run_id: UUID | None
    name: str
    task_key: str
    state_type: str
    state_name: str
    message: str
    started_at: datetime | None
    ended_at: datetime | None
    run_count: int
    total_run_seconds: float
    cached: bool
    upstream: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class LogRecord:
    id: UUID
    flow_run_id: UUID | None
    task_run_id: UUID | None
    level: int
    message: str
    timestamp: datetime
    logger: str


@dataclass(frozen=True, slots=True)
class ArtifactRecord:
    """An artifact of a run.

    `data` is text for markdown, a list of rows for a table, a number from 0 to 100 for progress and an address for an
    image. A link is the markdown that Prefect makes of it.
    """

    id: UUID
    key: str
    type: str
    description: str
    data: JSON = field(repr=False)
    flow_run_id: UUID | None
    task_run_id: UUID | None
    created_at: datetime | None
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class EventRecord:
    """A hint to read one flow run again; nothing in it is trusted."""

    flow_run_id: UUID
    kind: str


# PrefectError
# ├── Unreachable    no connection, or the server is busy or failing: safe to send again
# ├── Uncertain      the request may have been executed: repeat it with the same idempotency key
# ├── Unauthorized   401 or 403
# ├── NotFound       404 from an API route
# └── Rejected       any other 4xx, and requests that are never sent


class PrefectError(Exception):
    """A failed call to Prefect. `str()` is a message for people: no request body, no secret.

    `code` names the cause ("connection.refused", "credential.refused", …), `status` is the HTTP status or 0.
    """

    def __init__(self, message: str, *, code: str = "", status: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


class Unreachable(PrefectError):
    """Nothing was sent: it is safe to send again."""


class Uncertain(PrefectError):
    """It may have been sent and the answer is unknown: repeat it with the same idempotency key."""


class Unauthorized(PrefectError):
    """Prefect refused the credential."""


class NotFound(PrefectError):
    """Prefect does not have, or no longer has, the requested object."""


class Rejected(PrefectError):
    """Prefect refused the request; the message carries its reason."""
