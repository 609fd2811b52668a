"""What the portal answers about environments, deployments, requests and runs.

Ids of Prefect are text; times have an offset. Values of secret parameters arrive masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .profile_answers import RequestedProfile

# The states in which nothing more happens.
ENDED_REQUESTS = frozenset({"completed", "failed", "cancelled", "lost", "rejected", "withdrawn", "expired", "refused"})
# Of a closed one the runs can still go on: it closes when nothing of it is left to start.
ENDED_CHANGES = frozenset({"rejected", "withdrawn", "expired"})
ENDED_ACTIONS = frozenset({"done", "overtaken", "failed"})
ENDED_RUNS = frozenset({"COMPLETED", "FAILED", "CANCELLED", "CRASHED"})


@dataclass(frozen=True, slots=True)
class Environment:
    """`health` is the state of its Prefect server at `checked_at`: "up" when it responds.

    While its runs are read for the first time, `first_reading_percent` says how much of the time that goes back is
    covered, and `first_reading_runs` how many runs were read.
    """

    name: str
    display_name: str
    description: str
    scope_kind: str
    scope_values: list[str]
    is_protected: bool
    needs_approval: bool
    needs_reason: bool
    is_active: bool
    health: str
    checked_at: datetime | None
    first_reading_percent: int | None
    first_reading_runs: int | None
    automations_failure: str


@dataclass(frozen=True, slots=True)
class Deployment:
    id: str
    environment: str
    name: str
    aliases: list[str]
    flow: str
    description: str
    tags: list[str]
    is_paused: bool
    status: str
    work_pool: str
    version: str
    is_deleted: bool
    has_left_scope: bool
    url: str


@dataclass(frozen=True, slots=True)
class PrefectSchedule:
    """A schedule that Prefect has; `slug` is its name in the code, empty if it has none."""

    id: str
    slug: str
    description: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class DeploymentDetail(Deployment):
    """`etag` is its version, which an edit sends back: what is edited is what was read."""

    prefect_schedules: list[PrefectSchedule]
    parameter_schema: dict[str, Any]
    parameter_defaults: dict[str, Any]
    may_run: bool
    why: str
    etag: str


@dataclass(frozen=True, slots=True)
class RunRequest:
    """`run` is Prefect's id of the run that it became, `change` the number of what is approved."""

    id: int
    change: int
    environment: str
    deployment: str
    state: str
    state_name: str
    message: str
    scheduled_for: datetime | None
    run: str | None
    run_state: str
    requested_by: str
    requested_at: datetime
    url: str

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_REQUESTS


@dataclass(frozen=True, slots=True)
class Spec:
    deployment: str
    version: str
    parameters: dict[str, Any] | None
    tags: list[str]
    run_name: str
    retries: int
    profile: RequestedProfile | None


@dataclass(frozen=True, slots=True)
class Approval:
    by: str
    approved: bool
    reason: str
    at: datetime
    counts: bool


@dataclass(frozen=True, slots=True)
class Comment:
    by: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Change:
    """A change request: what is approved. `digest` names exactly its content, `requests` are its runs.

    Those of a `schedule`, which is its number, are many: they are listed by `requests(change=…)`.
    """

    id: int
    kind: str
    environment: str
    state: str
    state_name: str
    message: str
    reason: str
    ticket: str
    requested_by: str
    on_behalf_of: str
    requested_at: datetime
    expires_at: datetime | None
    needs_approval: bool
    approvals_needed: int
    digest: str
    key: str
    at_once: int | None
    on_failure: str
    progress: str
    schedule: int | None
    specs: list[Spec]
    requests: list[RunRequest]
    approvals: list[Approval]
    comments: list[Comment]

    @property
    def is_ended(self) -> bool:
        """Whether nothing more happens: it was turned down or has expired, or each of its runs has ended."""
        if self.state in ENDED_CHANGES:
            return True
        if self.kind == "chain":
            # Between two steps none of its runs is open.
            return self.state == "closed" or self.progress == "stopped"
        return self.state != "waiting" and all(each.is_ended for each in self.requests)


@dataclass(frozen=True, slots=True)
class EarlierRun:
    """What exists with the values of an item: `run` is Prefect's id, `request` its number if it has no run yet."""

    run: str | None
    request: int | None
    state: str
    at: datetime


@dataclass(frozen=True, slots=True)
class BackfillItem:
    """One item of a plan: `outcome` is run, skip or refuse, `code` and `why` are empty for one that would run."""

    position: int
    values: dict[str, Any]
    outcome: str
    code: str
    why: str
    earlier: EarlierRun | None


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What a backfill would do; `digest` is what a submission quotes to run exactly this."""

    digest: str
    to_run: int
    skipped: int
    refused: int
    deletes_data: bool
    checks_earlier: bool
    profile: RequestedProfile | None
    items: list[BackfillItem]


@dataclass(frozen=True, slots=True)
class InboxChange(Change):
    """A change request that needs your approval; `not_pinned` is code that can still change after it."""

    risk: str
    changed: list[str]
    not_pinned: list[str]


@dataclass(frozen=True, slots=True)
class State:
    state: str
    name: str
    message: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Run:
    """`state` is Prefect's state type, such as RUNNING; `message` is empty without permission to view logs.

    `stalled` says how a run is stalled, and is empty for most.
    """

    id: str
    environment: str
    name: str
    deployment: str
    flow: str
    state: str
    state_name: str
    message: str
    stalled: str
    parameters: dict[str, Any] | None
    tags: list[str]
    request: int | None
    requested_by: str
    expected_start_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float
    url: str

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_RUNS


@dataclass(frozen=True, slots=True)
class RunDetail(Run):
    states: list[State]


@dataclass(frozen=True, slots=True)
class LogLine:
    """`level` is as in Python's logging: 20 info, 30 warning, 40 error. Later lines of a run have higher ids."""

    id: int
    at: datetime
    level: int
    message: str
    task_run: str | None


@dataclass(frozen=True, slots=True)
class Event:
    """What happened to a run, a request or an environment. Later events have higher ids."""

    id: int
    kind: str
    environment: str
    deployment: str | None
    run: str | None
    request: int | None
    change: int | None
    data: dict[str, Any]
    occurred_at: datetime
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Action:
    """A cancellation, recovery, retry, pause, resumption or limit, which is carried out in the background."""

    id: int
    kind: str
    state: str
    message: str
    requested_by: str
    requested_at: datetime

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_ACTIONS


@dataclass(frozen=True, slots=True)
class Requested:
    """An action, or the number of the change request that has to be approved first."""

    action: Action | None
    change: int | None


@dataclass(frozen=True, slots=True)
class PresetProblem:
    field: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Preset:
    """`parameters` hold no secrets; they are null while the deployment is not deployed.

    `problems` name values that it would not accept any more.
    """

    id: int
    environment: str
    deployment: str
    name: str
    owner: str
    is_shared: bool
    parameters: dict[str, Any] | None
    profile: str
    problems: list[PresetProblem]
    created_at: datetime
    changed_at: datetime
    url: str
