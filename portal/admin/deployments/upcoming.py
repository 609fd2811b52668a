"""The next starts of a deployment: runs that Prefect has planned, and due times of schedules of the portal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import QuerySet
from django.urls import reverse

from runs.models import Run, Schedule

MOST = 5


@dataclass(frozen=True, slots=True)
class Upcoming:
    at: datetime
    name: str
    source: str
    link: str


def upcoming(runs: QuerySet[Run], schedules: Iterable[Schedule]) -> list[Upcoming]:
    """Return the next starts, the earliest first; one query. A schedule that Prefect keeps has planned runs there."""
    planned = runs.filter(state_type="SCHEDULED", deleted_upstream_at=None, expected_start_at__isnull=False)
    found = [
        Upcoming(
            run.expected_start_at,
            str(run),
            "schedule in Prefect" if run.is_auto_scheduled else "scheduled run",
            reverse("admin:runs_run_change", args=[run.pk]),
        )
        for run in planned.order_by("expected_start_at", "pk")[:MOST]
        if run.expected_start_at
    ]
    found += [
        Upcoming(
            schedule.next_due, schedule.name, "schedule", reverse("admin:runs_schedule_change", args=[schedule.pk])
        )
        for schedule in schedules
        if schedule.next_due and not schedule.is_native
    ]
    return sorted(found, key=lambda each: each.at)[:MOST]
