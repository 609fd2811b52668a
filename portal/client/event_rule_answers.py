"""What the portal answers about event rules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class EventRule:
    """A rule: `environment` and `deployment` are what it runs, `of_…` and `in_environment` say what it waits for.

    `trigger` is run, artifact, delivery (a message to a hook) or event. `token` is the key of the token within whose
    scopes it acts. `obstacle` is why its owner could not run the deployment when that was last checked, and empty if
    nothing prevents them.
    """

    key: str
    name: str
    owner: str
    token: str | None
    trigger: str
    in_environment: str | None
    of_deployment: str
    of_flow: str
    of_tag: str
    states: list[str]
    artifact_key: str
    hook: str | None
    event_name: str
    conditions: list[dict[str, Any]]
    environment: str
    deployment: str
    mapping: dict[str, Any]
    debounce_seconds: int
    per_hour: int
    valid_until: datetime
    obstacle: str
    is_enabled: bool
    paused_by: str
    created_at: datetime
    url: str


@dataclass(frozen=True, slots=True)
class RuleFiring:
    """What an event did with a rule; `events` is how many it stands for, `request` the number of the run request."""

    id: int
    event: int
    source: str
    occurred_at: datetime
    matched_at: datetime
    due_at: datetime | None
    outcome: str
    code: str
    message: str
    events: int
    request: int | None
    depth: int


@dataclass(frozen=True, slots=True)
class RuleDryRunItem:
    """What one event would have done: request, skip or refuse; `why` is empty if it would have requested a run."""

    event: int
    at: datetime
    source: str
    result: str
    code: str
    why: str
    parameters: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RuleDryRun:
    """What the events of the last day would have done, newest first; `is_cut` if there were more than are read."""

    since: datetime
    needs_approval: bool
    is_cut: bool
    request: int
    skip: int
    refuse: int
    items: list[RuleDryRunItem]


@dataclass(frozen=True, slots=True)
class PostedEvent:
    environment: str
    name: str
