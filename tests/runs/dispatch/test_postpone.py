"""Runs of Prefect's own schedules are postponed outside windows, or skipped where the policy refuses."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from flows.prefect_api.records import FlowRunRecord
from runs import dispatch, mirror, requests, tasks
from runs.dispatch.postpone import hold_back, too_early
from runs.governance import windows
from runs.models import AuditEntry, Freeze, Policy, Run, Window
from tests.cast import by
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db

ALL_DAY = {"cron": "0 0 * * *", "minutes": 1440, "effect": "deny"}
SOON = timedelta(minutes=2)


def closed(environment: Environment, **columns: Any) -> Window:
    """No run may start today; tomorrow's window of the same kind follows at once."""
    return Window.objects.create(**{"name": "closed", "environment": environment, **ALL_DAY, **columns})


def closed_for_an_hour(environment: Environment) -> datetime:
    """From a moment ago on; returns when it is over."""
    begins = timezone.now().replace(second=0, microsecond=0) - timedelta(minutes=1)
    cron = f"{begins.minute} {begins.hour} * * *"
    closed(environment, cron=cron, minutes=60)
    return begins + timedelta(hours=1)


def planned(fake: FakePrefect, deployment: Deployment, after: timedelta = SOON, **fields: Any) -> FlowRunRecord:
    """A run of one of Prefect's own schedules."""
    at = timezone.now() + after
    return fake.add_run(deployment.prefect_id, expected_start_at=at, planned_for=at, auto_scheduled=True, **fields)


def what_became(fake: FakePrefect, run: FlowRunRecord) -> FlowRunRecord:
    (found,) = fake.flow_runs([run.id])
    return found


def test_it_waits_until_the_window_is_over_and_says_so(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    over = closed_for_an_hour(dev)
    run = planned(fake, deployment)
    tasks.sync(dev.server_id)
    found = what_became(fake, run)
    assert found.planned_for == over
    assert found.state
    assert "“closed”" in found.state.message
    assert windows.until(over) in found.state.message
    assert Run.objects.get().expected_start_at == over
    entry = AuditEntry.objects.get(verb="run.postponed")
    assert (entry.subject_name, entry.environment, entry.reason) == (run.name, "dev", found.state.message)


def test_it_is_postponed_once(deployment: Deployment, dev: Environment, fake: FakePrefect) -> None:
    closed_for_an_hour(dev)
    planned(fake, deployment)
    for _ in range(3):
        tasks.sync(dev.server_id)
    assert AuditEntry.objects.filter(verb="run.postponed").count() == 1


def test_where_the_rules_refuse_it_is_skipped(deployment: Deployment, dev: Environment, fake: FakePrefect) -> None:
    closed_for_an_hour(dev)
    Policy.objects.create(name="strict", environment=dev, outside_window="refuse")
    run = planned(fake, deployment)
    tasks.sync(dev.server_id)
    state = what_became(fake, run).state
    assert state
    assert state.type == "CANCELLED"
    assert Run.objects.get().state_type == "CANCELLED"
    assert AuditEntry.objects.get(verb="run.skipped").after == {"planned": None}


def test_one_whose_time_is_within_the_window_is_left_alone(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    closed(dev, name="elsewhere", full_name="other/other")
    run = planned(fake, deployment)
    tasks.sync(dev.server_id)
    assert what_became(fake, run) == run


def test_one_that_starts_much_later_is_left_alone_until_then(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    closed_for_an_hour(dev)
    run = planned(fake, deployment, timedelta(minutes=30))
    tasks.sync(dev.server_id)
    assert what_became(fake, run) == run


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETED"])
def test_one_that_a_worker_has_taken_is_left_alone(
    deployment: Deployment, dev: Environment, fake: FakePrefect, state: str
) -> None:
    closed_for_an_hour(dev)
    run = planned(fake, deployment, state_type=state)
    tasks.sync(dev.server_id)
    assert what_became(fake, run).state == run.state


def test_one_that_was_asked_for_here_is_left_to_its_request(
    deployment: Deployment, dev: Environment, fake: FakePrefect, requester: User
) -> None:
    request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(request)
    closed_for_an_hour(dev)
    tasks.sync(dev.server_id)
    (run,) = fake.active_flow_runs()
    assert run.planned_for is None


def test_when_nobody_can_say_it_is_looked_at_again(deployment: Deployment, dev: Environment, fake: FakePrefect) -> None:
    Freeze.objects.create(environment=dev, reason="year end", begun_by_name="ada")
    run = planned(fake, deployment)
    tasks.sync(dev.server_id)
    found = what_became(fake, run)
    assert found.planned_for
    assert found.planned_for > timezone.now() + timedelta(minutes=5)
    assert found.state
    assert "frozen by ada: year end" in found.state.message


def test_one_is_left_alone_when_the_freeze_ends_before_its_turn(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    freeze = Freeze.objects.create(environment=dev, reason="year end", begun_by_name="ada")
    run = planned(fake, deployment)
    mirror.sync(dev)
    (early,) = too_early(dev)
    freeze.lifted_at = timezone.now()
    freeze.save()
    assert not hold_back(early)
    assert what_became(fake, run) == run


def test_one_that_begins_meanwhile_is_not_taken_back(
    deployment: Deployment, dev: Environment, fake: FakePrefect
) -> None:
    closed_for_an_hour(dev)
    run = planned(fake, deployment)
    mirror.sync(dev)
    fake.set_state(run.id, "RUNNING")
    dispatch.postpone(dev)
    state = what_became(fake, run).state
    assert state
    assert state.type == "RUNNING"
    assert not AuditEntry.objects.filter(verb="run.postponed").exists()
