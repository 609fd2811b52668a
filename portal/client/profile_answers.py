"""What the portal answers about resource profiles."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class RequestedProfile:
    """A resource profile as it was when the run was requested; no `work_queue` is that of the deployment."""

    name: str
    work_queue: str
    job_variables: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ResourceProfile:
    """Job variables for the runs of one work pool, `pool`, or of all of a `type`."""

    id: int
    environment: str
    name: str
    description: str
    pool: str
    type: str
    work_queue: str
    job_variables: dict[str, Any]
    groups: list[str]
    allows_agents: bool
    created_at: datetime
    created_by: str
    removed_at: datetime | None
    url: str
