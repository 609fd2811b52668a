"""Schedules that Prefect keeps: what is saved there, when, and what becomes of changes made there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.prefect_api.records import ScheduleRecord
from runs import changes, dispatch, mirror, native_schedules
from runs.audit import reconcile
from runs.automation import schedule_clock, schedule_copies, schedule_listings, schedule_states, schedules
from runs.governance import bypasses, freezes
from runs.models import (
    Action,
    AuditEntry,
    Bypass,
    ChangeRequest,
    Notification,
    Policy,
    Run,
    RunEvent,
    Schedule,
)
from runs.models.action import Kind
from runs.models.action import State as ActionState
from runs.models.notification import Topic
from runs.notifications.services import subscribe
from tests.background import notices
from tests.cast import by
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.made_schedules import let_schedule, schedule_of
from tests.refusals import refused
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
State = Schedule.State


@pytest.fixture
def allowed(prod_deployment: Deployment) -> Policy:
    return Policy.objects.create(name="native", environment=prod_deployment.environment, native_schedules="allow")


@pytest.fixture
def owner(prod_deployment: Deployment, requester: User) -> User:
    let_schedule(requester, prod_deployment)
    return requester


@pytest.fixture
def native(allowed: Policy, prod_deployment: Deployment, owner: User, approver: User) -> Schedule:
    """Approved, and saved in Prefect."""
    schedule = approved(schedule_of(prod_deployment, owner, is_native=True), approver)
    save_all()
    return again(schedule)


def approved(schedule: Schedule, approver: User) -> Schedule:
    changes.approve(ChangeRequest.objects.get(pk=schedule.change_id), by=by(approver))
    schedule_clock.tick()
    return again(schedule)


def again(schedule: Schedule) -> Schedule:
    return schedule_states.rows().get(pk=schedule.pk)


def save_all() -> None:
    for action in Action.objects.filter(kind=Kind.SCHEDULE, state__in=["wanted", "sent"]).order_by("pk"):
        Action.objects.filter(pk=action.pk).update(next_attempt_at=None)
        dispatch.carry_out(action)


def copies(fake: FakePrefect) -> list[ScheduleRecord]:
    return [each for deployment in fake.deployments() for each in deployment.schedules if each.slug]


def edit_in_prefect(fake: FakePrefect, environment: Environment, **changed: Any) -> None:
    [deployment] = [each for each in fake.deployments() if any(one.slug for one in each.schedules)]
    fake.change_deployment(deployment.id, schedules=tuple(replace(each, **changed) for each in deployment.schedules))
    sync.sync(environment)


def test_it_is_saved_in_prefect_once_it_is_approved(
    allowed: Policy, prod_deployment: Deployment, owner: User, approver: User, prod_fake: FakePrefect
) -> None:
    schedule = schedule_of(prod_deployment, owner, is_native=True)
    assert not Action.objects.exists()
    schedule = approved(schedule, approver)
    save_all()
    [copy] = copies(prod_fake)
    assert (copy.slug, copy.is_active) == (f"portal-{schedule.change_id}", True)
    assert copy.parameters == {"month": "2026-10", "rows": 100}
    assert copy.rule["interval"] == 3600
    assert native_schedules.differences(again(schedule)) == []
    assert AuditEntry.objects.get(verb="schedule.saved").subject_id == str(schedule.pk)
    assert reconcile() == ""


def test_the_portal_starts_none_of_its_runs(native: Schedule, later: Later) -> None:
    due = native.next_due
    later(timedelta(hours=1))
    schedule_clock.tick()
    found = again(native)
    assert found.last_due == due
    assert found.next_due
    assert due
    assert found.next_due > due
    assert found.missed == 0
    assert not native.change.run_requests.exists()


def test_pausing_resuming_and_ending_reach_prefect(native: Schedule, owner: User, prod_fake: FakePrefect) -> None:
    schedules.pause(native, by=by(owner))
    save_all()
    assert [copy.is_active for copy in copies(prod_fake)] == [False]
    schedules.resume(native, by=by(owner), reason="again")
    save_all()
    assert [(copy.is_active, copy.parameters["month"]) for copy in copies(prod_fake)] == [(True, "2026-10")]
    schedules.end(native, by=by(owner))
    save_all()
    assert copies(prod_fake) == []
    assert not Action.objects.exclude(state=ActionState.DONE).exists()


def test_a_lost_answer_creates_it_once(
    allowed: Policy, prod_deployment: Deployment, owner: User, approver: User, prod_fake: FakePrefect
) -> None:
    approved(schedule_of(prod_deployment, owner, is_native=True), approver)
    action = Action.objects.get(kind=Kind.SCHEDULE)
    # As a process that was killed after it had sent, and before it had noted the answer.
    dispatch.carry_out(action)
    Action.objects.update(state=ActionState.SENT, settled_at=None)
    save_all()
    assert len(copies(prod_fake)) == 1
    assert len([call for call in prod_fake.calls if call.method == "save_schedule"]) == 1
    assert Action.objects.get().state == ActionState.DONE


@pytest.mark.parametrize(("act", "left"), [(schedules.pause, [False]), (schedules.end, [])])
def test_one_that_is_moved_while_it_is_saved_is_saved_as_it_is_then(
    act: Callable[..., None],
    left: list[bool],
    allowed: Policy,
    prod_deployment: Deployment,
    owner: User,
    approver: User,
    prod_fake: FakePrefect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    schedule = approved(schedule_of(prod_deployment, owner, is_native=True), approver)
    save = prod_fake.save_schedule

    def save_and_move(*args: Any, **options: Any) -> None:
        save(*args, **options)
        if again(schedule).state == State.ACTIVE:
            act(schedule, by=by(owner))

    monkeypatch.setattr(prod_fake, "save_schedule", save_and_move)
    save_all()
    assert Action.objects.get().state == ActionState.SENT
    save_all()
    assert Action.objects.get().state == ActionState.DONE
    assert [copy.is_active for copy in copies(prod_fake)] == left


def test_after_its_last_start_it_is_deleted_when_a_worker_has_had_time_to_take_the_run(
    allowed: Policy, prod_deployment: Deployment, owner: User, approver: User, later: Later
) -> None:
    soon = timezone.now() + timedelta(minutes=90)
    schedule = approved(schedule_of(prod_deployment, owner, is_native=True, valid_until=soon), approver)
    later(timedelta(hours=1))
    schedule_clock.tick()
    assert again(schedule).state == State.ACTIVE
    later(timedelta(minutes=6))
    schedule_clock.tick()
    assert (again(schedule).state, again(schedule).code) == (State.ENDED, "schedule.over")


def test_a_replacement_leaves_one_copy(native: Schedule, owner: User, approver: User, prod_fake: FakePrefect) -> None:
    later_end = native.valid_until + timedelta(days=1)
    new = approved(schedules.edit(native, by=by(owner), valid_until=later_end, reason="still needed"), approver)
    assert new.is_native
    newest_first = Action.objects.filter(kind=Kind.SCHEDULE, state="wanted").order_by("-pk")
    for action in newest_first:
        dispatch.carry_out(action)
    assert [copy.slug for copy in copies(prod_fake)] == [f"portal-{new.change_id}"]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"catch_up": "last"}, "schedule.native_options"),
        ({"tags": ["a"]}, "schedule.native_options"),
        ({"parameters": {"month": "2026-10", "token": "hush"}}, "schedule.native_secret"),
    ],
)
def test_what_prefect_cannot_keep_is_refused(
    allowed: Policy, prod_deployment: Deployment, owner: User, options: dict[str, Any], code: str
) -> None:
    with refused(code):
        schedule_of(prod_deployment, owner, is_native=True, **options)


def test_where_it_is_protected_a_policy_has_to_allow_it(prod_deployment: Deployment, owner: User) -> None:
    with refused("schedule.native_refused"):
        schedule_of(prod_deployment, owner, is_native=True)
    Policy.objects.create(name="native", native_schedules="allow")
    Policy.objects.create(name="each", native_schedules="allow", approve_each_run=True, environment=None)
    with refused("schedule.native_refused"):
        schedule_of(prod_deployment, owner, is_native=True)


def test_beside_a_schedule_from_code_without_a_slug_it_is_refused(
    allowed: Policy, prod: Environment, prod_deployment: Deployment, owner: User, prod_fake: FakePrefect
) -> None:
    prod_fake.change_deployment(prod_deployment.prefect_id, schedules=(records.cron("0 6 * * *"),))
    sync.sync(prod)
    prod_deployment.refresh_from_db()
    with refused("schedule.native_code"):
        schedule_of(prod_deployment, owner, is_native=True)


def test_a_policy_that_allows_it_no_more_pauses_it(
    native: Schedule, allowed: Policy, later: Later, prod_fake: FakePrefect
) -> None:
    allowed.delete()
    later(timedelta(hours=1))
    schedule_clock.tick()
    assert (again(native).state, again(native).code) == (State.PAUSED, "schedule.native_refused")
    save_all()
    assert [copy.is_active for copy in copies(prod_fake)] == [False]


def test_what_is_changed_in_prefect_is_noted_once_and_put_back(
    native: Schedule, prod: Environment, owner: User, viewer: User, prod_fake: FakePrefect
) -> None:
    edit_in_prefect(prod_fake, prod, parameters={"month": "2020-01"}, rule={"cron": "* * * * *", "timezone": "UTC"})
    schedule_copies.inspect()
    schedule_copies.inspect()
    assert [each["what"] for each in again(native).drift] == ["rule", "parameters"]
    assert AuditEntry.objects.filter(verb="schedule.drift").count() == 1
    with refused("access.no_grant"):
        schedule_copies.put_back(native, by=by(viewer))
    schedule_copies.put_back(native, by=by(owner), reason="not ours")
    save_all()
    assert [copy.parameters["month"] for copy in copies(prod_fake)] == ["2026-10"]
    assert (again(native).drift, again(native).drifted_at) == ([], None)
    with refused("schedule.unchanged"):
        schedule_copies.put_back(native, by=by(owner))


def test_owner_and_administrators_are_notified_of_each_change_once_and_when_it_holds_again(
    native: Schedule, prod: Environment, owner: User, approver: User, admin_user: User, prod_fake: FakePrefect
) -> None:
    let_schedule(approver, native.deployment)

    def received() -> list[tuple[User | None, str]]:
        schedule_copies.inspect()
        found = [(each.person, each.text) for each in notices().filter(topic=Topic.SCHEDULE_DRIFT).order_by("pk")]
        Notification.objects.all().delete()
        return found

    edit_in_prefect(prod_fake, prod, parameters={"month": "2020-01"})
    found = received()
    assert {person for person, _ in found} == {owner, admin_user}
    assert len(found) == 2
    assert not any("2020-01" in text for _, text in found)
    assert received() == []
    edit_in_prefect(prod_fake, prod, is_active=False)
    assert len(received()) == 2
    subscribe(owner, set(), by=by(owner))
    schedule_copies.put_back(native, by=by(owner))
    save_all()
    assert [person for person, _ in received()] == [admin_user]
    assert RunEvent.objects.filter(kind=RunEvent.Kind.SCHEDULE_HOLDS).count() == 1
    edit_in_prefect(prod_fake, prod, is_active=False)
    schedules.end(native, by=by(owner))
    save_all()
    assert received() == []


def test_one_that_a_deployment_deleted_is_missing_until_it_is_put_back(
    native: Schedule, prod: Environment, owner: User, prod_deployment: Deployment, prod_fake: FakePrefect
) -> None:
    prod_fake.change_deployment(prod_deployment.prefect_id, schedules=())
    sync.sync(prod)
    schedule_copies.inspect()
    assert again(native).drift == [{"what": "state", "ours": "active", "theirs": "missing"}]
    schedule_copies.put_back(native, by=by(owner))
    save_all()
    assert len(copies(prod_fake)) == 1


def test_it_is_no_bypass_until_it_is_changed(native: Schedule, prod: Environment, prod_fake: FakePrefect) -> None:
    assert bypasses.report(prod) == 0
    edit_in_prefect(prod_fake, prod, parameters={"month": "2020-01"})
    assert bypasses.report(prod) == 1
    assert Bypass.objects.get(gone_at=None).kind == Bypass.Kind.SCHEDULE


def test_a_freeze_holds_it_and_resumes_what_it_paused(
    native: Schedule, prod: Environment, admin_user: User, prod_fake: FakePrefect
) -> None:
    freeze = freezes.freeze(prod, by=by(admin_user), reason="year end", until=timezone.now() + timedelta(hours=1))
    for action in Action.objects.filter(kind=Kind.PAUSE, state="wanted"):
        dispatch.carry_out(action)
    assert [each.is_paused for each in prod_fake.deployments() if any(one.slug for one in each.schedules)] == [True]
    type(freeze).objects.update(until=timezone.now() - timedelta(seconds=1))
    freezes.end_expired()
    for action in Action.objects.filter(kind=Kind.RESUME, state="wanted"):
        dispatch.carry_out(action)
    assert not any(each.is_paused for each in prod_fake.deployments())


def test_during_a_freeze_none_becomes_active(
    allowed: Policy,
    prod: Environment,
    prod_deployment: Deployment,
    owner: User,
    approver: User,
    admin_user: User,
    prod_fake: FakePrefect,
) -> None:
    freezes.freeze(prod, by=by(admin_user), reason="year end")
    approved(schedule_of(prod_deployment, owner, is_native=True), approver)
    save_all()
    assert copies(prod_fake) == []
    assert Action.objects.get(kind=Kind.SCHEDULE).state == ActionState.WANTED
    prod.freezes.update(lifted_at=timezone.now())
    save_all()
    assert len(copies(prod_fake)) == 1


@pytest.mark.parametrize(
    "rule",
    [
        {"interval": "soon", "anchor_date": "never", "timezone": 7},
        {"interval": [1], "anchor_date": {"a": None}},
        {"cron": ["<b>"], "day_or": "x" * 10_000},
        {},
    ],
)
def test_whatever_rule_prefect_has_it_differs_and_breaks_nothing(
    native: Schedule, prod: Environment, prod_fake: FakePrefect, rule: dict[str, Any]
) -> None:
    edit_in_prefect(prod_fake, prod, rule=rule)
    schedule_copies.inspect()
    assert [each["what"] for each in again(native).drift] == ["rule"]
    assert bypasses.report(prod) == 1
    schedule_listings.options_of_copy(again(native))


def planned_run(fake: FakePrefect, deployment: Deployment, **parameters: Any) -> Run:
    """A run that Prefect has planned by its copy of the schedule and started, as the mirror reads it."""
    [copy] = copies(fake)
    key = f"scheduled {deployment.prefect_id} {copy.id} 2026-11-29 06:00:00+00:00"
    values = {**copy.parameters, **parameters}
    made = fake.add_run(
        deployment.prefect_id, state_type="RUNNING", auto_scheduled=True, idempotency_key=key, parameters=values
    )
    mirror.refresh(deployment.environment, [made.id])
    return Run.objects.get(prefect_id=made.id)


def test_a_run_that_prefect_starts_by_it_is_linked_and_not_recorded_as_started_outside(
    native: Schedule, prod: Environment, prod_deployment: Deployment, prod_fake: FakePrefect
) -> None:
    mirror.sync(prod)
    sync.sync(prod)
    assert planned_run(prod_fake, prod_deployment).schedule_id == native.pk
    assert not AuditEntry.objects.filter(verb="run.appeared").exists()


def test_a_run_with_other_parameters_than_were_approved_is_recorded(
    native: Schedule, prod: Environment, prod_deployment: Deployment, prod_fake: FakePrefect
) -> None:
    mirror.sync(prod)
    sync.sync(prod)
    assert planned_run(prod_fake, prod_deployment, month="2020-01").schedule_id is None
    assert AuditEntry.objects.filter(verb="run.appeared").count() == 1
