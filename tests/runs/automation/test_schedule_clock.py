"""The clock of the schedules: each start once, missed ones as the schedule says, windows and freezes at launch."""

from __future__ import annotations

import uuid
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment
from runs import tasks
from runs.audit import signatures
from runs.automation import schedule_clock, schedules
from runs.governance import freezes, policies
from runs.models import AuditEntry, Grant, Policy, RunRequest, Schedule, Window
from runs.models.request import State as RunState
from tests.background import notices
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.made_schedules import launch_queued, let_schedule, schedule_of, states_of
from tests.runs.conftest import Later

pytestmark = pytest.mark.django_db
CatchUp = Schedule.CatchUp


@pytest.fixture
def hourly(deployment: Deployment, requester: User) -> Schedule:
    """An hourly schedule in dev, where nothing needs an approval."""
    let_schedule(requester, deployment)
    return schedule_of(deployment, requester)


def starts(schedule: Schedule) -> list[str]:
    return list(schedule.change.run_requests.order_by("scheduled_for").values_list("occurrence", flat=True))


def test_it_requests_each_start_shortly_before_its_time_and_once(hourly: Schedule, later: Later) -> None:
    due = hourly.next_due
    assert due
    later(due - timezone.now() - timedelta(seconds=40))
    schedule_clock.tick()
    assert starts(hourly) == []
    later(timedelta(seconds=15))
    for _ in range(3):
        schedule_clock.tick()
    assert starts(hourly) == [due.isoformat()]
    hourly.refresh_from_db()
    assert (hourly.last_due, hourly.next_due) == (due, due + timedelta(hours=1))
    assert not AuditEntry.objects.filter(verb="schedule.miss").exists()


@pytest.mark.parametrize(
    ("catch_up", "started", "skipped"), [(CatchUp.NONE, 0, 3), (CatchUp.LAST, 1, 2), (CatchUp.ALL, 3, 0)]
)
def test_what_was_missed_is_recorded_and_caught_up_as_it_says(
    deployment: Deployment, requester: User, later: Later, catch_up: CatchUp, started: int, skipped: int
) -> None:
    let_schedule(requester, deployment)
    schedule = schedule_of(deployment, requester, catch_up=catch_up)
    due = schedule.next_due
    assert due
    # Half an hour after the third start that nobody requested.
    later(due - timezone.now() + timedelta(hours=2, minutes=30))
    schedule_clock.tick()
    last = [(due + timedelta(hours=hour)).isoformat() for hour in range(3)]
    assert starts(schedule) == last[len(last) - started :]
    schedule.refresh_from_db()
    assert (schedule.missed, schedule.next_due) == (skipped, due + timedelta(hours=3))
    entry = AuditEntry.objects.get(verb="schedule.miss")
    assert (entry.after["late"], entry.after["started"], entry.after["skipped"]) == (3, started, skipped)
    assert notices().filter(person=requester, topic="schedule").count() == 1
    launch_queued()
    assert states_of(schedule) == [RunState.LAUNCHED] * started


def test_a_start_that_is_a_little_late_is_not_missed(hourly: Schedule, later: Later) -> None:
    due = hourly.next_due
    assert due
    later(due - timezone.now() + timedelta(minutes=2))
    schedule_clock.tick()
    assert starts(hourly) == [due.isoformat()]
    assert not AuditEntry.objects.filter(verb="schedule.miss").exists()


def test_no_more_than_the_last_hundred_are_caught_up(deployment: Deployment, requester: User, later: Later) -> None:
    let_schedule(requester, deployment)
    schedule = schedule_of(deployment, requester, rule="1m", catch_up=CatchUp.ALL)
    later(timedelta(hours=3))
    schedule_clock.tick()
    schedule.refresh_from_db()
    assert len(starts(schedule)) == schedule_clock.MOST_CAUGHT_UP
    assert 75 <= schedule.missed <= 85


def test_after_the_last_start_it_ends_and_its_request_closes(
    deployment: Deployment, requester: User, later: Later, fake: FakePrefect
) -> None:
    let_schedule(requester, deployment)
    due = (timezone.now() + timedelta(days=1)).replace(microsecond=0)
    rule = f"DTSTART:{due:%Y%m%dT%H%M%S} FREQ=DAILY;COUNT=1"
    schedule = schedule_of(deployment, requester, rule_type="rrule", rule=rule, time_zone="UTC")
    later(timedelta(days=1))
    schedule_clock.tick()
    launch_queued()
    assert states_of(schedule) == [RunState.LAUNCHED]
    schedule.refresh_from_db()
    assert (schedule.state, schedule.code) == (Schedule.State.ENDED, "schedule.over")
    tasks.advance_changes()
    schedule.change.refresh_from_db()
    assert schedule.change.state == "closed"


def test_windows_and_freezes_hold_its_runs_at_launch(
    hourly: Schedule, later: Later, admin_user: User, fake: FakePrefect
) -> None:
    environment = hourly.environment
    freezes.freeze(environment, by=by(admin_user), reason="month end")
    later(timedelta(hours=1))
    schedule_clock.tick()
    launch_queued()
    (held,) = hourly.change.run_requests.all()
    assert (held.state, "frozen" in held.message) == (RunState.APPROVED, True)
    freezes.unfreeze(environment, by=by(admin_user))
    window = Window(name="never now", environment=environment, cron="0 0 1 1 *", minutes=1, effect="allow")
    policies.save_window(window, by=by(admin_user))
    RunRequest.objects.update(next_attempt_at=None)
    tasks.launch(held.pk)
    held.refresh_from_db()
    assert (held.state, "never now" in held.message) == (RunState.APPROVED, True)
    Policy.objects.create(name="refuse", environment=environment, outside_window="refuse")
    RunRequest.objects.update(next_attempt_at=None)
    tasks.launch(held.pk)
    held.refresh_from_db()
    assert held.state == RunState.REFUSED


def test_a_grant_revoked_after_it_was_due_refuses_the_launch(hourly: Schedule, later: Later) -> None:
    later(timedelta(hours=1))
    schedule_clock.tick()
    Grant.objects.filter(person=hourly.change.requested_by, verbs__contains=["schedule"]).update(
        revoked_at=timezone.now()
    )
    launch_queued()
    assert states_of(hourly) == [RunState.REFUSED]


def test_a_failure_between_the_run_and_the_next_due_time_undoes_both(hourly: Schedule, later: Later) -> None:
    """As a kill there does: what is not committed did not happen, and is done once afterwards."""
    later(timedelta(hours=1))
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'killed'; END $$;"
            "CREATE TRIGGER kill BEFORE UPDATE OF next_due ON runs_schedule FOR EACH ROW EXECUTE FUNCTION fail()"
        )
    with pytest.raises(DatabaseError), transaction.atomic():
        schedule_clock.tick()
    assert starts(hourly) == []
    with connection.cursor() as cursor:
        cursor.execute("DROP TRIGGER kill ON runs_schedule")
    schedule_clock.tick()
    assert len(starts(hourly)) == 1


def test_one_that_cannot_be_handled_is_paused_and_holds_up_no_other(
    hourly: Schedule, deployment: Deployment, later: Later
) -> None:
    user = hourly.change.requested_by
    assert user
    other = schedule_of(deployment, user, name="other")
    with connection.cursor() as cursor:
        # As if the rule were of a kind that a later version has added.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE; ALTER TABLE runs_schedule DISABLE TRIGGER frozen")
        cursor.execute("UPDATE runs_schedule SET rule_type = 'lunar' WHERE id = %s", [hourly.pk])
        cursor.execute("ALTER TABLE runs_schedule ENABLE ALWAYS TRIGGER frozen")
    later(timedelta(hours=1))
    schedule_clock.tick()
    hourly.refresh_from_db()
    assert (hourly.state, hourly.code) == (Schedule.State.PAUSED, "schedule.failed")
    assert len(starts(other)) == 1


def test_an_idle_clock_makes_as_many_queries_for_a_thousand(hourly: Schedule) -> None:
    def queries() -> int:
        with CaptureQueriesContext(connection) as found:
            schedule_clock.tick()
            schedule_clock.inspect()
        return len(found)

    before = queries()
    copies(hourly, 1000)
    assert queries() == before == 4


def copies(schedule: Schedule, number: int) -> None:
    """Active schedules like this one, that are not due."""
    made = []
    for _ in range(number):
        change, spec = schedule.change, schedule.spec
        change.pk, change.submission_key, change._state.adding = None, uuid.uuid4(), True
        change.signature = signatures.sign(change)
        change.save(force_insert=True)
        spec.pk, spec.change = None, change
        spec.save(force_insert=True)
        row = Schedule.objects.get(pk=schedule.pk) if not made else made[-1]
        values = {field.attname: getattr(row, field.attname) for field in Schedule._meta.concrete_fields}
        made.append(Schedule(**{**values, "id": None, "change_id": change.pk, "spec_id": spec.pk}))
    Schedule.objects.bulk_create(made)


def test_the_owner_sees_who_paused_it(hourly: Schedule, requester: User) -> None:
    schedules.pause(hourly, by=by(requester), reason="later.")
    hourly.refresh_from_db()
    assert (hourly.changed_by_name, hourly.message) == ("requester", "Paused by requester: later.")
