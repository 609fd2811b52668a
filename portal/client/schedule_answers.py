"""What the portal answers about schedules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .profile_answers import RequestedProfile


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule of the portal: `change` is the number of what is approved, `code` says why it is paused or ended."""

    id: int
    change: int
    environment: str
    deployment: str
    name: str
    owner: str
    rule_type: str
    rule: str
    time_zone: str
    anchor: datetime | None
    catch_up: str
    valid_until: datetime
    replaces: int | None
    state: str
    code: str
    message: str
    next_due: datetime | None
    last_due: datetime | None
    approves_each: bool
    native: bool
    drift: list[dict[str, str]]
    missed: int
    url: str


@dataclass(frozen=True, slots=True)
class ScheduleDetail(Schedule):
    """`parameters` have their secrets masked, and are null without permission to view them."""

    next_starts: list[datetime]
    parameters: dict[str, Any] | None
    tags: list[str]
    run_name: str
    profile: RequestedProfile | None


@dataclass(frozen=True, slots=True)
class NextTimes:
    times: list[datetime]
