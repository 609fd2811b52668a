"""What an environment does not keep is deleted and does not return; results and counts stay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import dispatch, events, mirror, notifications, requests, sweeps, tasks
from runs.governance import configuration
from runs.mirror import run_retention
from runs.models import (
    Action,
    Artifact,
    AuditEntry,
    Delivery,
    LogLine,
    Notification,
    QueuedTask,
    Run,
    RunCount,
    RunEvent,
    RunRequest,
    StateChange,
    Sweep,
    TaskRun,
)
from runs.models.notification import Topic
from runs.models.request import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs
from tests.refusals import refused
from tests.runs.mirror.day_sums import assert_that_days_are_sums_of_hours

pytestmark = pytest.mark.django_db
DAYS = 30
OLD = timedelta(days=DAYS + 1)
Login = Callable[[User], Client]


@pytest.fixture
def keeps(dev: Environment, fake: FakePrefect) -> Environment:
    """An environment that keeps everything for 30 days, whose runs have been read."""
    mirror.sync(dev)
    dev.keep_runs_days = dev.keep_events_days = DAYS
    dev.save()
    return dev


def end(fake: FakePrefect, flow_run_id: UUID, *, ago: timedelta = timedelta()) -> None:
    """Let a run end, and make it as old as that in Prefect and here."""
    at = timezone.now() - ago
    fake.set_state(flow_run_id, "COMPLETED", at=at)
    fake.change_run(flow_run_id, ended_at=at)


@pytest.fixture
def old(keeps: Environment, deployment: Deployment, fake: FakePrefect, requester: User) -> RunRequest:
    """A request whose run completed long ago, with a log and a task."""
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id
    fake.add_log(run_request.flow_run_id, "a line")
    fake.add_task_run(run_request.flow_run_id)
    end(fake, run_request.flow_run_id)
    mirror.refresh(keeps, [run_request.flow_run_id])
    end(fake, run_request.flow_run_id, ago=OLD)
    Run.objects.update(ended_at=timezone.now() - OLD, state_at=timezone.now() - OLD)
    mirror.rebuild_counts(keeps)
    return run_request


def test_a_run_goes_with_all_its_rows_and_its_request_keeps_the_result(old: RunRequest, keeps: Environment) -> None:
    run = Run.objects.get()
    assert LogLine.objects.exists()
    tasks.sweep(keeps.pk)
    for model in (Run, LogLine, TaskRun, StateChange, Artifact):
        assert not model._default_manager.exists(), model
    old.refresh_from_db()
    assert (old.state, old.run) == (State.COMPLETED, None)
    assert (old.flow_run_id, old.flow_run_name) == (run.prefect_id, run.name)
    assert (old.run_state, old.run_started_at, old.run_ended_at) == (run.state_name, run.started_at, run.ended_at)
    assert RunCount.objects.get().number == 1
    found = Sweep.objects.get()
    assert (found.runs, found.swept_at is not None) == (1, True)


@pytest.mark.parametrize("in_prefect", ["it is still there", "it is deleted"])
def test_what_was_deleted_does_not_return_and_nothing_is_reported(
    old: RunRequest, keeps: Environment, fake: FakePrefect, in_prefect: str
) -> None:
    assert old.flow_run_id
    external = fake.add_run(old.spec.deployment_prefect_id)
    end(fake, external.id, ago=OLD)
    tasks.sweep(keeps.pk)
    if in_prefect == "it is deleted":
        fake.remove_run(old.flow_run_id)
    entries, written = AuditEntry.objects.count(), RunEvent.objects.count()
    counts = list(RunCount.objects.values_list("pk", "number"))
    mirror.sync(keeps)
    # As after an event of Prefect's about the run.
    mirror.refresh(keeps, [old.flow_run_id, external.id])
    assert not Run.objects.exists()
    assert (AuditEntry.objects.count(), RunEvent.objects.count()) == (entries, written)
    assert list(RunCount.objects.values_list("pk", "number")) == counts
    assert_that_days_are_sums_of_hours()
    old.refresh_from_db()
    assert old.state == State.COMPLETED


def test_the_horizon_stays_when_more_is_kept_again(old: RunRequest, keeps: Environment) -> None:
    assert old.flow_run_id
    tasks.sweep(keeps.pk)
    Environment.objects.update(keep_runs_days=0)
    tasks.sweep(keeps.pk)
    mirror.refresh(keeps, [old.flow_run_id])
    assert not Run.objects.exists()
    Environment.objects.update(keep_runs_days=2 * DAYS)
    before = Sweep.objects.get().horizon
    tasks.sweep(keeps.pk)
    assert Sweep.objects.get().horizon == before


def test_a_run_that_is_retried_in_prefect_is_read_again(old: RunRequest, keeps: Environment, fake: FakePrefect) -> None:
    assert old.flow_run_id
    tasks.sweep(keeps.pk)
    fake.set_state(old.flow_run_id, "RUNNING")
    fake.change_run(old.flow_run_id, ended_at=None)
    mirror.sync(keeps)
    old.refresh_from_db()
    assert (old.state, old.run) == (State.LAUNCHED, Run.objects.get())


def test_everything_is_kept_by_default(old: RunRequest, keeps: Environment) -> None:
    Environment.objects.update(keep_runs_days=0, keep_events_days=0)
    RunEvent.objects.update(observed_at=timezone.now() - OLD)
    tasks.deliver_events()
    number = RunEvent.objects.count()
    tasks.sweep_all()
    assert not QueuedTask.objects.filter(task="runs.tasks.sweep").exists()
    tasks.sweep(keeps.pk)
    assert (Run.objects.count(), RunEvent.objects.count()) == (1, number)
    assert not Sweep.objects.exists()


def test_what_is_young_going_on_or_elsewhere_stays(
    keeps: Environment, deployment: Deployment, prod_deployment: Deployment
) -> None:
    now = timezone.now()
    many_runs(deployment, 1, name="old", ended_at=now - OLD)
    many_runs(deployment, 1, name="lost", state_type="RUNNING", deleted_upstream_at=now - OLD)
    many_runs(deployment, 1, name="young", ended_at=now - timedelta(days=DAYS - 1))
    many_runs(deployment, 1, name="running", state_type="RUNNING", started_at=now - OLD)
    many_runs(prod_deployment, 1, name="elsewhere", ended_at=now - OLD)
    (cancelled,) = many_runs(deployment, 1, name="cancelling", ended_at=now - OLD)
    Action.objects.create(kind="cancel", run=cancelled, requested_by_name="otto", state="sent")
    tasks.sweep(keeps.pk)
    assert {run.name for run in Run.objects.all()} == {"young", "running", "elsewhere", "cancelling"}
    Action.objects.update(state="done")
    tasks.sweep(keeps.pk)
    assert "cancelling" not in {run.name for run in Run.objects.all()}


def test_many_runs_are_deleted_in_several_tasks(
    keeps: Environment, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_retention, "RUNS_AT_ONCE", 2)
    monkeypatch.setattr(run_retention, "MOST_BATCHES", 2)
    many_runs(deployment, 7, ended_at=timezone.now() - OLD)
    tasks.sweep_all()
    assert QueuedTask.objects.filter(task="runs.tasks.sweep").count() == 1
    QueuedTask.objects.all().delete()
    tasks.sweep(keeps.pk)
    assert (Run.objects.count(), Sweep.objects.get().swept_at) == (3, None)
    assert QueuedTask.objects.filter(task="runs.tasks.sweep").count() == 1
    for _ in range(2):
        tasks.sweep(keeps.pk)
    assert (Run.objects.count(), Sweep.objects.get().runs) == (0, 7)
    assert Sweep.objects.get().swept_at


def test_counts_that_are_made_again_keep_what_was_deleted(
    old: RunRequest, keeps: Environment, deployment: Deployment
) -> None:
    tasks.sweep(keeps.pk)
    many_runs(deployment, 1, ended_at=timezone.now())
    mirror.rebuild_counts(keeps)
    assert sum(row.number for row in RunCount.objects.all()) == 2
    assert_that_days_are_sums_of_hours()


# Events and notifications


def test_events_go_once_every_consumer_has_handled_them(keeps: Environment) -> None:
    tasks.deliver_events()
    RunEvent.objects.all().delete()
    for kind in (RunEvent.Kind.REQUEST_EXPIRED, RunEvent.Kind.FREEZE_ENDED):
        events.record(kind, environment=keeps)
    RunEvent.objects.update(observed_at=timezone.now() - OLD)
    sweeps.sweep(keeps)
    assert RunEvent.objects.count() == 2, "nothing has handled them yet"
    tasks.deliver_events()
    events.record(RunEvent.Kind.REQUEST_EXPIRED, environment=keeps)
    tasks.deliver_events()
    while sweeps.sweep(keeps):
        pass
    # The one that could not be handled, and the young one.
    assert [each.kind for each in RunEvent.objects.order_by("pk")] == [
        RunEvent.Kind.FREEZE_ENDED,
        RunEvent.Kind.REQUEST_EXPIRED,
    ]


def test_notifications_go_once_they_are_sent(keeps: Environment, viewer: User) -> None:
    for state in ("sent", "failed", "wanted"):
        notice = Notification.objects.create(person=viewer, topic=Topic.FREEZE, environment=keeps, text="")
        Delivery.objects.create(notification=notice, state=state)
    Notification.objects.update(created_at=timezone.now() - OLD)
    young = Notification.objects.create(person=viewer, topic=Topic.FREEZE, environment=keeps, text="")
    Delivery.objects.create(notification=young, state="sent")
    while sweeps.sweep(keeps):
        pass
    assert sorted(each.state for each in Delivery.objects.all()) == ["sent", "wanted"]


def test_what_is_about_several_environments_is_kept_as_long_as_one_of_them_keeps_it(
    keeps: Environment, prod: Environment, viewer: User
) -> None:
    Notification.objects.create(person=viewer, topic=Topic.RULES, text="")
    Notification.objects.update(created_at=timezone.now() - OLD)
    for prod_days, left in ((0, 1), (2 * DAYS, 1), (DAYS, 0)):
        Environment.objects.filter(pk=prod.pk).update(keep_events_days=prod_days)
        tasks.sweep_all()
        assert Notification.objects.count() == left


def test_a_notification_is_of_the_environment_of_its_fact(
    prod_deployment: Deployment, requester: User, approver: User
) -> None:
    notifications.subscribe(approver, [(Topic.WAITING, None)], by=by(approver))
    requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")
    tasks.deliver_events()
    assert Notification.objects.get().environment == prod_deployment.environment


# The setting


@pytest.mark.usefixtures("single_administrator")
def test_keeping_less_loosens_a_protected_environment(prod: Environment, admin_user: User) -> None:
    prod.is_protected = True
    prod.save()
    prod.keep_runs_days = 90
    with refused("loosening.reason_required"):
        configuration.save_environment(prod, by=by(admin_user))
    configuration.save_environment(prod, by=by(admin_user), reason="Storage", confirm="prod")
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.before, entry.after["keep_runs_days"]) == ({"keep_runs_days": 0}, 90)
    # Keeping more needs neither, and forever is more.
    for days in (120, 0):
        prod.keep_runs_days = days
        configuration.save_environment(prod, by=by(admin_user))
    prod.keep_events_days = 10
    with refused("loosening.reason_required"):
        configuration.save_environment(prod, by=by(admin_user))


def test_the_page_shows_what_is_kept_and_what_was_deleted(
    old: RunRequest, keeps: Environment, deployment: Deployment, requester: User, stranger: User, login: Login
) -> None:
    many_runs(deployment, 1, name="oldest-that-is-left")
    tasks.sweep(keeps.pk)
    answer = login(requester).get(f"/admin/flows/environment/{keeps.pk}/change/")
    assert (answer.context["sweep"].runs, answer.context["oldest_run"].name) == (1, "oldest-that-is-left")
    page = answer.content.decode()
    assert f"{DAYS} days" in page
    old.refresh_from_db()
    request_page = login(requester).get(f"/admin/runs/runrequest/{old.pk}/change/").content.decode()
    assert old.flow_run_name in request_page
