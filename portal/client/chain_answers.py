"""What the portal answers about chains, their plans and their runs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .answers import BackfillItem
from .profile_answers import RequestedProfile


@dataclass(frozen=True, slots=True)
class Chain:
    """Deployments that run after each other; `version` is the number of the newest one.

    After `valid_until` it cannot be run, until it is saved with a later end. Its `owner` is who saved it last;
    `obstacle` is why they could not run it when that was last checked, and empty if nothing prevents them.
    """

    id: int
    environment: str
    name: str
    description: str
    version: int
    steps: int
    is_enabled: bool
    owner: str
    valid_until: datetime
    obstacle: str
    last_requested_at: datetime | None
    url: str


@dataclass(frozen=True, slots=True)
class ChainDetail(Chain):
    """`definition` is null without permission to view parameters everywhere."""

    definition: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class ChainStep:
    """Where a step is: `outcome` is waiting, ready, running, completed, failed or skipped.

    `items` are the runs of a step that is a backfill, and 0 of every other; `over` has its values by parameter, each
    combination of which is a run. It is empty for people who cannot view them.
    """

    key: str
    deployment: str
    outcome: str
    attempt: int
    request: int | None
    state: str
    run: str | None
    waits_for: str
    items: int
    items_completed: int
    over: dict[str, list[Any]]
    profile: RequestedProfile | None


@dataclass(frozen=True, slots=True)
class ChainRun:
    """A run of a chain; `id` is the number of its change request, which is approved as one."""

    id: int
    chain: int
    name: str
    environment: str
    version: int
    state: str
    progress: str
    message: str
    inputs: dict[str, Any] | None
    digest: str
    steps: list[ChainStep]
    url: str


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of a planned run of a chain: its `items` are its runs, one without values if it is no backfill."""

    key: str
    deployment: str
    runs: int
    refused: int
    profile: RequestedProfile | None
    items: list[BackfillItem]


@dataclass(frozen=True, slots=True)
class ChainPlan:
    """What a run of a chain would be; `digest` is what a request quotes to run exactly this."""

    digest: str
    version: int
    runs: int
    refused: int
    steps: list[PlannedStep]
