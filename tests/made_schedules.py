"""Schedules for tests, and how they are made due."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs import tasks
from runs.actors import Actor
from runs.automation import schedules
from runs.governance import grants
from runs.models import QueuedTask, Schedule
from runs.models.request import State
from tests.cast import by

HOURLY = {"rule_type": "interval", "rule": "1h", "time_zone": "Europe/Berlin"}


def let_schedule(user: User, deployment: Deployment) -> None:
    """Give the person what a schedule of the deployment needs beside running it."""
    environment = deployment.environment
    grants.grant(by=Actor.system(), person=user, verbs=["see", "trigger", "schedule"], environment=environment)


def schedule_of(deployment: Deployment, user: User, **options: Any) -> Schedule:
    """An hourly schedule of the deployment for ten days, as the person requests it."""
    chosen: dict[str, Any] = {
        "name": "nightly",
        "valid_until": timezone.now() + timedelta(days=10),
        "reason": "every day",
        **HOURLY,
        **options,
    }
    if chosen["rule_type"] == "interval":
        # From now on, so that an hour later one is due, whatever the time is.
        chosen.setdefault("anchor", timezone.now().replace(second=0, microsecond=0))
    return schedules.request(deployment, chosen.pop("parameters", {"month": "2026-10"}), by=by(user), **chosen)


def launch_queued() -> None:
    """Run the queued launches, until there are none."""
    while queued := list(QueuedTask.objects.filter(task="runs.tasks.launch").order_by("pk")):
        QueuedTask.objects.all().delete()
        for each in queued:
            tasks.launch(*json.loads(each.args))


def states_of(schedule: Schedule) -> list[State]:
    return [State(each) for each in schedule.change.run_requests.order_by("pk").values_list("state", flat=True)]
