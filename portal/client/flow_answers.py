"""What the portal answers about flows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class FlowPlace:
    """A flow in one environment: its deployments that you see, and how their runs of the last 30 days ended."""

    environment: str
    deployments: int
    completed: int
    failed: int
    cancelled: int
    success_rate: float | None


@dataclass(frozen=True, slots=True)
class Flow:
    """A flow of which you see a deployment; `success_rate` is from 0 to 1."""

    name: str
    environments: list[FlowPlace]
    completed: int
    failed: int
    cancelled: int
    success_rate: float | None
    last_run_at: datetime | None
    last_run_state: str | None
    url: str
