"""What the portal answers about failures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .answers import Action


@dataclass(frozen=True, slots=True)
class Failure:
    """Failures of one kind. `reason` and `message` are empty without permission to view logs.

    `failures` counts all there were, also of runs that have been deleted since.
    """

    id: int
    environment: str
    deployment: str
    task: str
    reason: str
    message: str
    state: str
    state_at: datetime
    state_by: str
    state_reason: str
    muted_until: datetime | None
    owner: str
    failures: int
    first_seen_at: datetime
    last_seen_at: datetime
    url: str


@dataclass(frozen=True, slots=True)
class FailureDay:
    day: str
    failures: int


@dataclass(frozen=True, slots=True)
class FailureAct:
    """What was done about a failure, or that it appeared or regressed; `by` is empty for the portal."""

    kind: str
    by: str
    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class FailureDetail(Failure):
    days: list[FailureDay]
    acts: list[FailureAct]


@dataclass(frozen=True, slots=True)
class RetriedRun:
    """A run of a failure: its retry, the number of the change request that needs approval, or why it was refused."""

    run: str
    action: Action | None
    change: int | None
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class RetriedRuns:
    """`left` runs were not reached in time."""

    items: list[RetriedRun]
    left: int
