"""What the portal answers about service levels."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """`threshold` is in the unit of its kind; `sentence` says in words when it is breached."""

    id: int
    environment: str
    deployment: str
    tag: str
    kind: str
    threshold: float
    days: int
    sentence: str
    owner: str
    runbook: str
    created_at: datetime
    created_by: str
    removed_at: datetime | None
    url: str


@dataclass(frozen=True, slots=True)
class Breach:
    """That a deployment does not meet a service level, until `cleared_at`."""

    id: int
    level: int
    sentence: str
    environment: str
    deployment: str
    deployment_id: str
    value: float
    opened_at: datetime
    cleared_at: datetime | None
    runbook: str
