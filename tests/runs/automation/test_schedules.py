"""Schedules: what is approved, who can change it, and when it is paused or ends."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, transaction
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from runs import changes
from runs.actors import Actor
from runs.audit import reconcile
from runs.automation import schedule_clock, schedule_states, schedules
from runs.governance import grants
from runs.models import AuditEntry, ChangeRequest, Grant, Notification, Policy, RunRequest, Schedule, Verb
from runs.models.request import State as RunState
from tests.background import notices
from tests.cast import by, key, person
from tests.fakes.prefect import FakePrefect
from tests.made_schedules import launch_queued, let_schedule, schedule_of, states_of
from tests.refusals import forbidden, refused
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
State = Schedule.State


@pytest.fixture
def owner(requester: User, prod_deployment: Deployment) -> User:
    let_schedule(requester, prod_deployment)
    return requester


@pytest.fixture
def waiting(prod_deployment: Deployment, owner: User) -> Schedule:
    return schedule_of(prod_deployment, owner)


@pytest.fixture
def active(waiting: Schedule, approver: User) -> Schedule:
    return approved(waiting, approver)


def approved(schedule: Schedule, approver: User) -> Schedule:
    changes.approve(ChangeRequest.objects.get(pk=schedule.change_id), by=by(approver))
    schedule_clock.tick()
    return again(schedule)


def again(schedule: Schedule) -> Schedule:
    return schedule_states.rows().get(pk=schedule.pk)


def last_entry(verb: str) -> AuditEntry:
    return AuditEntry.objects.filter(verb=verb).order_by("-sequence")[0]


def test_it_starts_nothing_before_the_approval_and_is_due_after_it(waiting: Schedule, approver: User) -> None:
    schedule_clock.tick()
    assert (again(waiting).state, again(waiting).next_due) == (State.WAITING, None)
    now = timezone.now()
    found = approved(waiting, approver)
    assert found.state == State.ACTIVE
    assert found.next_due
    assert now < found.next_due <= now + timedelta(hours=1)
    assert last_entry("schedule.start").subject_id == str(found.pk)
    assert reconcile() == ""


def test_without_approval_it_is_active_at_once(deployment: Deployment, requester: User) -> None:
    let_schedule(requester, deployment)
    schedule = schedule_of(deployment, requester, reason="")
    assert schedule.state == State.ACTIVE


@pytest.mark.parametrize("decision", ["reject", "withdraw", "expire"])
def test_what_is_turned_down_never_starts(waiting: Schedule, owner: User, approver: User, decision: str) -> None:
    change = waiting.change
    if decision == "reject":
        changes.reject(change, by=by(approver), reason="no")
    elif decision == "withdraw":
        changes.withdraw(change, by=by(owner))
    else:
        ChangeRequest.objects.update(expires_at=timezone.now())
        changes.expire(change)
    schedule_clock.tick()
    assert again(waiting).state == State.ENDED


def test_it_needs_the_permission_for_schedules_and_for_its_values(
    prod_deployment: Deployment, requester: User, viewer: User
) -> None:
    with forbidden(Verb.SCHEDULE):
        schedule_of(prod_deployment, requester)
    with forbidden(Verb.TRIGGER):
        schedule_of(prod_deployment, viewer)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"name": " "}, "schedule.name"),
        ({"name": "n" * 101}, "schedule.name"),
        ({"rule_type": "cron", "rule": "never"}, "schedule.cron"),
        ({"catch_up": "some"}, "schedule.catch_up"),
        ({"valid_until": timezone.now() - timedelta(hours=1)}, "schedule.end"),
        ({"valid_until": timezone.now() + timedelta(days=400)}, "schedule.end"),
        ({"reason": ""}, "reason.required"),
    ],
)
def test_what_is_not_complete_is_refused(
    prod_deployment: Deployment, owner: User, options: dict[str, object], code: str
) -> None:
    with refused(code):
        schedule_of(prod_deployment, owner, **options)
    assert not Schedule.objects.exists()
    assert last_entry("request.submit").outcome == AuditEntry.Outcome.REFUSED


def test_a_policy_limits_how_long_a_schedule_lasts(prod_deployment: Deployment, owner: User) -> None:
    Policy.objects.create(name="short", environment=prod_deployment.environment, schedule_days=30)
    with refused("schedule.end") as caught:
        schedule_of(prod_deployment, owner, valid_until=timezone.now() + timedelta(days=31))
    assert caught.value.data["days"] == 30
    assert schedule_of(prod_deployment, owner, valid_until=timezone.now() + timedelta(days=29))


def test_the_same_form_twice_is_one_schedule(prod_deployment: Deployment, owner: User) -> None:
    once = {"submission_key": key(), "valid_until": timezone.now() + timedelta(days=5), "anchor": None}
    first, second = (schedule_of(prod_deployment, owner, **once) for _ in range(2))
    assert first == second
    assert first.anchor == datetime(2020, 1, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    with refused("submission.reused"):
        schedule_of(prod_deployment, owner, **once, rule="2h")


def test_its_rule_is_part_of_what_is_approved(waiting: Schedule, prod_deployment: Deployment, owner: User) -> None:
    other = schedule_of(prod_deployment, owner, rule="2h", valid_until=waiting.valid_until)
    assert waiting.change.pacing["schedule"]["rule"] == "1h"
    assert waiting.change.digest != other.change.digest


@pytest.mark.parametrize("column", ["rule", "valid_until", "catch_up", "name"])
def test_the_database_refuses_to_change_what_was_approved(active: Schedule, column: str) -> None:
    value = timezone.now() if column == "valid_until" else "5m"
    with pytest.raises(DatabaseError), transaction.atomic():
        Schedule.objects.filter(pk=active.pk).update(**{column: value})


def test_a_due_time_written_past_the_portal_starts_nothing(active: Schedule) -> None:
    """The portal signs what its clock adds: it must not sign what someone wrote into the table."""
    Schedule.objects.update(next_due=timezone.now() - timedelta(minutes=1, microseconds=1))
    schedule_clock.tick()
    found = again(active)
    assert (found.state, found.code) == (State.PAUSED, "schedule.changed")
    assert states_of(active) == []


# Edit, renew, take over -----------------------------------------------------------------------------------------------


def test_an_edit_replaces_it_when_it_is_approved(active: Schedule, owner: User, approver: User) -> None:
    until = timezone.now() + timedelta(days=20)
    edited = schedules.edit(active, by=by(owner), rule="3h", valid_until=until, reason="less often")
    assert again(active).state == State.ACTIVE
    assert (edited.replaces_id, edited.rule, edited.name, edited.valid_until) == (active.pk, "3h", "nightly", until)
    assert edited.spec.parameters["month"] == "2026-10"
    found = approved(edited, approver)
    before = again(active)
    assert (found.state, before.state, before.code) == (State.ACTIVE, State.ENDED, "schedule.replaced")
    assert ChangeRequest.objects.get(pk=before.change_id).state == ChangeRequest.State.CLOSED


def test_of_two_edits_only_the_first_one_approved_counts(active: Schedule, owner: User, approver: User) -> None:
    until = active.valid_until
    edits = (schedules.edit(active, by=by(owner), rule=rule, valid_until=until, reason="r") for rule in ("2h", "3h"))
    first, second = edits
    approved(second, approver)
    overtaken = approved(first, approver)
    assert (overtaken.state, overtaken.code) == (State.ENDED, "schedule.replaced")
    assert Schedule.objects.filter(state=State.ACTIVE).count() == 1


def test_an_ended_one_is_not_edited(active: Schedule, owner: User) -> None:
    schedules.end(active, by=by(owner))
    with refused("schedule.not_live"):
        schedules.edit(again(active), by=by(owner), valid_until=active.valid_until, reason="r")


def test_another_person_takes_it_over_with_what_a_rerun_needs(
    prod_deployment: Deployment, owner: User, approver: User
) -> None:
    secret = {"month": "2026-10", "token": "s3cret"}
    schedule = approved(schedule_of(prod_deployment, owner, parameters=secret), approver)
    heir = person("heir")
    let_schedule(heir, prod_deployment)
    options = {"valid_until": schedule.valid_until, "reason": "otto left"}
    with forbidden(Verb.SEE_INPUTS):
        schedules.edit(schedule, by=by(heir), **options)
    grants.grant(by=Actor.system(), person=heir, verbs=["see inputs", "rerun"], environment=schedule.environment)
    taken = schedules.edit(schedule, by=by(heir), **options)
    assert taken.change.requested_by == heir
    assert bytes(taken.spec.sealed_parameters)
    assert "s3cret" not in str(taken.spec.parameters)


# Pause, resume, end ---------------------------------------------------------------------------------------------------


def test_a_pause_counts_at_once_and_withdraws_what_was_not_sent(active: Schedule, owner: User, later: Later) -> None:
    later(timedelta(hours=1))
    schedule_clock.tick()
    assert states_of(active) == [RunState.APPROVED]
    schedules.pause(active, by=by(owner), reason="maintenance")
    found = again(active)
    assert (found.state, found.code, found.next_due) == (State.PAUSED, Schedule.BY_PERSON, None)
    assert states_of(active) == [RunState.WITHDRAWN]
    entry = last_entry("schedule.pause")
    assert (entry.actor_name, entry.after["withdrawn"], entry.reason) == ("requester", 1, "maintenance")
    later(timedelta(hours=2))
    schedule_clock.tick()
    assert len(states_of(active)) == 1


def test_a_resumed_one_goes_on_without_what_was_due_meanwhile(active: Schedule, owner: User, later: Later) -> None:
    schedules.pause(active, by=by(owner))
    later(timedelta(hours=5))
    schedules.resume(active, by=by(owner), reason="done")
    found = again(active)
    assert found.state == State.ACTIVE
    assert found.next_due
    assert found.next_due > timezone.now()
    schedule_clock.tick()
    assert states_of(active) == []


def test_who_may_stop_and_resume_it(active: Schedule, stranger: User, viewer: User, prod: Environment) -> None:
    for act in (schedules.pause, schedules.end):
        with forbidden(Verb.SCHEDULE):
            act(active, by=by(stranger))
    administrator = person("root", is_superuser=True)
    schedules.pause(active, by=by(administrator), reason="incident")
    with forbidden(Verb.SCHEDULE):
        schedules.resume(active, by=by(administrator), reason="over")
    with forbidden(Verb.SCHEDULE):
        schedules.end(active, by=by(administrator))


def test_acts_that_do_not_fit_its_state_are_refused(active: Schedule, waiting: Schedule, owner: User) -> None:
    with refused("schedule.not_paused"):
        schedules.resume(active, by=by(owner), reason="r")
    schedules.pause(active, by=by(owner))
    with refused("schedule.not_active"):
        schedules.pause(active, by=by(owner))
    schedules.end(active, by=by(owner))
    with refused("schedule.ended"):
        schedules.end(active, by=by(owner))


def test_the_end_of_a_waiting_one_withdraws_its_request(waiting: Schedule, owner: User) -> None:
    schedules.end(waiting, by=by(owner), reason="wrong")
    assert again(waiting).state == State.ENDED
    assert ChangeRequest.objects.get(pk=waiting.change_id).state == ChangeRequest.State.WITHDRAWN


# What prevents its runs -----------------------------------------------------------------------------------------------


def test_it_is_paused_before_it_is_due_when_its_owner_is_disabled(
    active: Schedule, owner: User, approver: User
) -> None:
    User.objects.filter(pk=owner.pk).update(is_active=False)
    schedule_clock.inspect()
    found = again(active)
    assert (found.state, found.code) == (State.PAUSED, "owner.inactive")
    # The owner cannot be reached any more; who approved it can.
    assert {notice.person for notice in notices()} == {approver}
    assert notices().get().target_kind == "schedule"


def test_it_is_paused_when_the_definition_moved_and_renewed_by_one_request(
    active: Schedule, owner: User, approver: User, prod_fake: FakePrefect, prod: Environment
) -> None:
    deployment = active.deployment
    prod_fake.change_deployment(deployment.prefect_id, entrypoint="other.py:flow")
    sync.sync(prod)
    schedule_clock.inspect()
    found = again(active)
    assert (found.state, found.code) == (State.PAUSED, "definition.changed")
    with refused("schedule.obstructed") as caught:
        schedules.resume(found, by=by(owner), reason="r")
    assert caught.value.data["cause"] == "definition.changed"
    renewed = schedules.edit(found, by=by(owner), valid_until=found.valid_until, reason="new version")
    assert approved(renewed, approver).state == State.ACTIVE
    assert again(active).state == State.ENDED


def test_it_is_paused_when_its_owner_lost_permission(active: Schedule, owner: User, later: Later) -> None:
    Grant.objects.filter(person=owner, verbs__contains=["schedule"]).update(revoked_at=timezone.now())
    later(timedelta(hours=1))
    schedule_clock.tick()
    assert (again(active).state, again(active).code) == (State.PAUSED, "owner.forbidden")
    assert states_of(active) == []


def test_it_is_paused_when_its_approver_lost_permission(active: Schedule, approver: User, later: Later) -> None:
    Grant.objects.filter(person=approver).update(revoked_at=timezone.now())
    later(timedelta(hours=1))
    schedule_clock.tick()
    assert again(active).code == "approval.approver_lost_permission"


@pytest.mark.parametrize("who", ["owner", "approver"])
def test_what_people_may_do_is_checked_two_hours_before_it_is_due(
    prod_deployment: Deployment, owner: User, approver: User, later: Later, who: str
) -> None:
    schedule = approved(schedule_of(prod_deployment, owner, rule="6h"), approver)
    Grant.objects.filter(person=owner if who == "owner" else approver).update(revoked_at=timezone.now())
    schedule_clock.inspect()
    assert again(schedule).state == State.ACTIVE
    later(timedelta(hours=4))
    schedule_clock.inspect()
    code = {"owner": "owner.forbidden", "approver": "approval.approver_lost_permission"}[who]
    assert (again(schedule).state, again(schedule).code) == (State.PAUSED, code)
    assert notices().filter(person=owner, topic="schedule").count() == 1


def test_its_owner_is_reminded_once_and_then_it_ends(
    prod_deployment: Deployment, owner: User, approver: User, later: Later
) -> None:
    schedule = approved(schedule_of(prod_deployment, owner, valid_until=timezone.now() + timedelta(days=8)), approver)
    schedule_clock.inspect()
    assert not Notification.objects.exists()
    later(timedelta(days=2))
    for _ in range(2):
        schedule_clock.inspect()
    assert notices().filter(person=owner, topic="schedule").count() == 1
    later(timedelta(days=7))
    schedule_clock.inspect()
    found = again(schedule)
    assert (found.state, found.code) == (State.ENDED, "schedule.over")
    assert ChangeRequest.objects.get(pk=found.change_id).state == ChangeRequest.State.CLOSED


def test_the_request_of_an_active_schedule_is_not_withdrawn_by_a_run_of_it(
    active: Schedule, owner: User, later: Later
) -> None:
    """Its runs share one change request: who cancels one of them must not end all."""
    later(timedelta(hours=1))
    schedule_clock.tick()
    with refused("schedule.withdraw"):
        changes.withdraw(RunRequest.objects.get().change, by=by(owner))
    assert again(active).state == State.ACTIVE


def test_a_run_is_started_as_any_other(active: Schedule, prod_fake: FakePrefect, later: Later) -> None:
    due = active.next_due
    later(timedelta(hours=1))
    schedule_clock.tick()
    launch_queued()
    assert states_of(active) == [RunState.LAUNCHED]
    run_request = RunRequest.objects.get()
    assert run_request.scheduled_for == due
    assert len(list(prod_fake.active_flow_runs())) == 1
    assert reconcile() == ""
    # Others can see whose schedule it was, by its change request.
    assert run_request.change.schedule == active
