"""Schedules of which each run is approved by itself."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment
from runs import changes
from runs.audit import reconcile
from runs.automation import schedule_approvals, schedule_clock, schedule_states, schedules
from runs.models import AuditEntry, ChangeRequest, Policy, Schedule
from runs.models.request import State as RunState
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.made_schedules import launch_queued, let_schedule, schedule_of
from tests.refusals import refused
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture
def policy(prod_deployment: Deployment) -> Policy:
    return Policy.objects.create(name="each", environment=prod_deployment.environment, approve_each_run=True)


@pytest.fixture
def schedule(policy: Policy, prod_deployment: Deployment, requester: User, approver: User) -> Schedule:
    """Hourly, active, with the request of its first run waiting."""
    let_schedule(requester, prod_deployment)
    return approved(schedule_of(prod_deployment, requester), approver)


def approved(schedule: Schedule, approver: User) -> Schedule:
    changes.approve(ChangeRequest.objects.get(pk=schedule.change_id), by=by(approver))
    schedule_clock.tick()
    schedule_clock.tick()
    return again(schedule)


def again(schedule: Schedule) -> Schedule:
    return schedule_states.rows().get(pk=schedule.pk)


def occurrences(schedule: Schedule) -> list[ChangeRequest]:
    return list(schedule.occurrences.order_by("pk"))


def test_the_run_waits_ahead_of_its_time_for_an_approval_of_its_own(
    schedule: Schedule, requester: User, approver: User, prod_fake: FakePrefect
) -> None:
    [change] = occurrences(schedule)
    assert (change.kind, change.state, change.requested_by) == ("run", "waiting", requester)
    due = change.run_request.scheduled_for
    assert due == schedule.last_due
    assert due
    assert timezone.now() < due <= timezone.now() + HOUR
    with refused("approval.own"):
        changes.approve(change, by=by(requester))
    changes.approve(change, by=by(approver))
    launch_queued()
    change.run_request.refresh_from_db()
    assert change.run_request.state in (RunState.APPROVED, RunState.LAUNCHED)
    assert reconcile() == ""


def test_each_due_time_is_requested_once_and_the_one_before_has_expired_by_then(
    schedule: Schedule, later: Later
) -> None:
    first = occurrences(schedule)[0]
    assert first.expires_at == schedule.next_due
    for _ in range(3):
        schedule_clock.tick()
    assert len(occurrences(schedule)) == 1
    later(HOUR)
    schedule_clock.tick()
    schedule_clock.tick()
    assert len(occurrences(schedule)) == 2
    assert len({change.submission_key for change in occurrences(schedule)}) == 2


@pytest.mark.parametrize("act", [schedules.pause, schedules.end])
def test_what_waits_is_withdrawn_with_the_schedule(act: object, schedule: Schedule, requester: User) -> None:
    assert callable(act)
    act(schedule, by=by(requester))
    [change] = occurrences(schedule)
    assert change.state == "withdrawn"
    assert change.run_request.state == RunState.WITHDRAWN


def test_a_schedule_that_was_approved_once_for_all_is_paused_until_it_is_renewed(
    prod_deployment: Deployment, requester: User, approver: User, later: Later
) -> None:
    let_schedule(requester, prod_deployment)
    schedule = approved(schedule_of(prod_deployment, requester), approver)
    Policy.objects.create(name="each", environment=prod_deployment.environment, approve_each_run=True)
    later(HOUR)
    schedule_clock.tick()
    assert (again(schedule).state, again(schedule).code) == ("paused", "approval.each_run")
    assert not schedule.change.run_requests.exists()


def test_without_any_stage_each_run_still_needs_an_approval(
    deployment: Deployment, requester: User, approver: User
) -> None:
    Policy.objects.create(name="each", environment=deployment.environment, approve_each_run=True)
    let_schedule(requester, deployment)
    schedule = schedule_of(deployment, requester, reason="")
    schedule_clock.tick()
    [change] = occurrences(again(schedule))
    assert (schedule.change.needs_approval, change.needs_approval, change.state) == (False, True, "waiting")


def test_one_that_is_refused_is_in_the_trail_and_holds_nothing_up(
    schedule: Schedule, later: Later, prod_deployment: Deployment
) -> None:
    Policy.objects.create(
        name="pinned", environment=prod_deployment.environment, needs_ticket=True, approve_each_run=True
    )
    due = again(schedule).next_due
    later(HOUR)
    schedule_clock.tick()
    assert len(occurrences(schedule)) == 1
    assert AuditEntry.objects.filter(verb="request.submit", outcome="refused", actor_kind="schedule").count() == 1
    assert again(schedule).next_due != due
    assert again(schedule).missed == 0


def test_it_is_requested_no_longer_ahead_than_an_approval_may_take(
    schedule: Schedule, prod_deployment: Deployment
) -> None:
    assert schedule_approvals.lead(schedule) == HOUR
    Policy.objects.create(name="soon", environment=prod_deployment.environment, approval_minutes=10)
    assert schedule_approvals.lead(schedule) == timedelta(minutes=10)
