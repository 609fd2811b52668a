"""Events: none is lost however transactions meet, each is handled once, and one that fails holds nothing up."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment, Environment, Health
from portal.demo.processes import ROOT
from runs import changes, consumers, dispatch, events, mirror, notifications, queue, requests, tasks
from runs.events import Consumer
from runs.models import ChangeRequest, EventCursor, FailedEvent, QueuedTask, Run, RunEvent, RunRequest
from runs.models.notification import Topic
from tests.background import DELIVERS, notices
from tests.cast import by, make_environment
from tests.fakes.prefect import FakePrefect
from tests.runs.conftest import Say
from tests.sessions import elsewhere

Kind = RunEvent.Kind


class Reader:
    """A consumer that notes what it was given; it fails on events whose data says so."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.fails = True
        self.consumers = {"reader": Consumer(self.handle, [Kind.RUN_MOVED])}

    def handle(self, event: RunEvent) -> None:
        if self.fails and event.data.get("fails"):
            # In the middle of its work, which must be undone.
            EventCursor.objects.create(name=f"half of {event.pk}")
            raise RuntimeError("password=hunter22")
        self.seen.append(event.pk)

    def deliver(self) -> None:
        events.deliver(self.consumers)

    def wait(self) -> None:
        """Let the time until the next try pass."""
        FailedEvent.objects.update(tried_at=timezone.now() - events.RETRY_AFTER)


@pytest.fixture
def reader() -> Reader:
    return Reader()


def write(**data: object) -> int:
    events.record(Kind.RUN_MOVED, data=data)
    return RunEvent.objects.order_by("-pk").values_list("pk", flat=True)[0]


# Positions


@pytest.mark.usefixtures("own_database")
def test_an_event_that_commits_after_a_later_one_is_not_lost(reader: Reader) -> None:
    reader.deliver()
    with elsewhere(write):
        second = write()
        reader.deliver()
        assert reader.seen == [second]
    reader.deliver()
    first, last = RunEvent.objects.order_by("pk")
    assert last.pk == second
    assert first.position > last.position, "a cursor over ids would be past the first one"
    assert reader.seen == [last.pk, first.pk]


@pytest.mark.usefixtures("own_database")
def test_two_relays_at_once_assign_each_position_once() -> None:
    EventCursor.objects.create(name=events.RELAY)
    other = threading.Thread(target=lambda: (events.relay(), connection.close()))
    with ExitStack() as first:
        with elsewhere(write):
            write()
            first.enter_context(elsewhere(events.relay))
        # Now both events are committed, and the first relay, which has seen only the second one, is not.
        other.start()
        while not is_waiting():
            time.sleep(0.01)
    other.join()
    assert list(RunEvent.objects.order_by("pk").values_list("position", flat=True)) == [2, 1]
    assert events.head() == 2


def is_waiting() -> bool:
    """Whether a session waits for another one's lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted)")
        return cursor.fetchone() == (True,)


@pytest.mark.django_db
def test_positions_follow_ids_and_go_on_after_events_are_deleted(reader: Reader) -> None:
    written = [write() for _ in range(3)]
    reader.deliver()
    assert reader.seen == written
    RunEvent.objects.all().delete()
    last = write()
    reader.deliver()
    assert reader.seen == [*written, last]


@pytest.mark.django_db
def test_more_events_than_one_batch_are_all_handled(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "RELAYED_AT_ONCE", 3)
    monkeypatch.setattr(events, "HANDLED_AT_ONCE", 2)
    written = [write() for _ in range(8)]
    reader.deliver()
    assert reader.seen == written


@pytest.mark.django_db
def test_what_is_not_for_a_consumer_costs_it_nothing(reader: Reader) -> None:
    events.record(Kind.REQUEST_EXPIRED)
    reader.deliver()

    def queries(number: int) -> int:
        for _ in range(number):
            events.record(Kind.REQUEST_EXPIRED)
        with CaptureQueriesContext(connection) as captured:
            reader.deliver()
        return len(captured)

    assert queries(1) == queries(250)
    assert EventCursor.objects.get(name="reader").position == 252
    # Four: where all are, twice, whether there is a new event, and what failed.
    assert queries(0) == 4


@pytest.mark.django_db
def test_a_new_consumer_begins_with_what_happens_from_now_on(reader: Reader) -> None:
    write()
    events.deliver({})
    reader.deliver()
    assert reader.seen == []
    after = write()
    reader.deliver()
    assert reader.seen == [after]


# Delivery


@pytest.mark.django_db
def test_an_event_is_queued_for_delivery_with_its_fact_and_gone_with_it() -> None:
    with transaction.atomic():
        write()
        transaction.set_rollback(True)
    assert not QueuedTask.objects.filter(task=DELIVERS).exists()
    assert not RunEvent.objects.exists()
    write()
    assert QueuedTask.objects.filter(task=DELIVERS).count() == 1
    assert queue.TASKS[DELIVERS]


@pytest.mark.django_db
def test_each_event_is_handled_once(reader: Reader) -> None:
    first = write()
    for _ in range(3):
        reader.deliver()
    assert reader.seen == [first]


# Run by a process that ends in the middle of a batch, after the rows of its first event were written.
KILLED = """
import os, signal
import django
django.setup()
from runs import consumers, events
from runs.events import Consumer
from runs.models import EventCursor

def handle(event):
    EventCursor.objects.create(name=f"handled {event.pk}")
    if event.data.get("kills"):
        os.kill(os.getpid(), signal.SIGKILL)

events.deliver({"reader": Consumer(handle, ["run moved"])})
"""


@pytest.mark.usefixtures("own_database")
def test_a_consumer_that_is_killed_repeats_all_of_its_batch_or_nothing() -> None:
    first, second = write(), write(kills=True)
    # The child begins at the first event, as a consumer that was there before.
    EventCursor.objects.create(name="reader")
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, env=os.environ, capture_output=True, check=False)
    assert killed.returncode == -9, killed.stderr
    handled = EventCursor.objects.filter(name__startswith="handled")
    assert not handled.exists()
    assert EventCursor.objects.get(name="reader").position == 0
    RunEvent.objects.filter(pk=second).update(data={})
    again = subprocess.run([sys.executable, "-c", KILLED], cwd=ROOT, env=os.environ, capture_output=True, check=False)
    assert again.returncode == 0, again.stderr
    assert {each.name for each in handled} == {f"handled {first}", f"handled {second}"}
    assert EventCursor.objects.get(name="reader").position == 2


@pytest.mark.django_db
def test_the_rows_of_a_batch_and_its_cursor_are_one_transaction(reader: Reader) -> None:
    reader.deliver()
    first = write()
    events.relay()
    with transaction.atomic():
        assert events.consume("reader", reader.consumers["reader"]) is False
        transaction.set_rollback(True)
    assert EventCursor.objects.get(name="reader").position == 0
    reader.deliver()
    assert reader.seen == [first, first], "handled again, because nothing of the first time was stored"


# What cannot be handled


@pytest.mark.django_db
def test_an_event_that_fails_is_set_aside_after_three_tries_and_the_others_go_on(reader: Reader) -> None:
    before, poisoned, after = write(), write(fails=True), write()
    for number in range(1, events.MOST_TRIES + 1):
        reader.deliver()
        is_last = number == events.MOST_TRIES
        assert reader.seen == ([before, after] if is_last else [before])
        reader.deliver()  # not due yet, or done
        assert FailedEvent.objects.get().tries == number
        reader.wait()
    assert reader.seen == [before, after]
    failure = FailedEvent.objects.get()
    assert (failure.consumer, failure.event_id, failure.is_set_aside) == ("reader", poisoned, True)
    assert "RuntimeError" in failure.error
    assert "hunter22" not in failure.error
    assert not EventCursor.objects.filter(name__startswith="half").exists()


@pytest.mark.django_db
def test_an_event_that_succeeds_at_the_second_try_keeps_its_place(reader: Reader) -> None:
    first, second = write(fails=True), write()
    reader.deliver()
    assert reader.seen == []
    reader.fails = False
    reader.wait()
    reader.deliver()
    assert reader.seen == [first, second]
    assert not FailedEvent.objects.exists()


@pytest.mark.django_db
def test_what_was_set_aside_is_listed_and_handled_on_request(prod: Environment, viewer: User, say: Say) -> None:
    notifications.subscribe(viewer, [(Topic.FREEZE, None)], by=by(viewer))
    tasks.deliver_events()
    # An event without the facts that a message is made of.
    events.record(Kind.FREEZE_ENDED, environment=prod)
    for _ in range(events.MOST_TRIES):
        tasks.deliver_events()
        FailedEvent.objects.update(tried_at=timezone.now() - timedelta(minutes=1))
    failure = FailedEvent.objects.get(is_set_aside=True)
    code, out, _ = say("events")
    assert code == 1
    assert f"{failure.event_id}: KeyError" in out
    # It fails once more, then its cause is mended.
    assert say("events", "--retry")[0] == 1
    RunEvent.objects.filter(pk=failure.event_id).update(data={"by": "otto"})
    code, out, _ = say("events", "--retry", "--json")
    assert code == 0
    assert '"set_aside": []' in out
    assert not FailedEvent.objects.exists()


def test_every_kind_of_notice_is_the_kind_of_an_event() -> None:
    for consumer in consumers.CONSUMERS.values():
        assert set(consumer.kinds) <= set(Kind)


@pytest.mark.django_db
def test_of_a_batch_that_fails_together_each_event_is_handled_by_itself(reader: Reader) -> None:
    batches = []

    def together(batch: Sequence[RunEvent]) -> None:
        batches.append([each.pk for each in batch])
        for each in batch:
            reader.handle(each)

    reader.consumers = {"reader": Consumer(reader.handle, [Kind.RUN_MOVED], together)}
    reader.deliver()
    good = [write(), write()]
    reader.deliver()
    assert batches == [good]
    bad = [write(), write(fails=True)]
    reader.deliver()
    assert batches == [good, bad]
    # What the batch had written was undone with it, and done again without it.
    assert EventCursor.objects.filter(name__startswith="half").count() == 0
    assert FailedEvent.objects.get().event_id == bad[1]


# What is written


def kinds(*names: Kind) -> list[str]:
    return list(RunEvent.objects.filter(kind__in=names).order_by("pk").values_list("kind", flat=True))


@pytest.mark.django_db
def test_a_run_appears_moves_and_is_deleted(deployment: Deployment, fake: FakePrefect, dev: Environment) -> None:
    mirror.sync(dev)
    record = fake.add_run(deployment.prefect_id)
    mirror.sync(dev)
    fake.set_state(record.id, "RUNNING")
    for _ in range(2):
        mirror.sync(dev)
    fake.remove_run(record.id)
    mirror.sync(dev)
    run = Run.objects.get()
    found = RunEvent.objects.order_by("pk")
    assert [each.kind for each in found] == [Kind.RUN_APPEARED, Kind.RUN_MOVED, Kind.RUN_DELETED]
    assert {(each.run_id, each.deployment_id, each.environment_id) for each in found} == {
        (run.pk, deployment.pk, dev.pk)
    }
    assert [each.data.get("state") for each in found] == ["SCHEDULED", "RUNNING", "RUNNING"]
    assert found[1].occurred_at == run.state_at
    assert not any(each.is_history for each in found)


@pytest.mark.django_db
def test_what_a_first_reading_finds_is_history_and_notifies_nobody(
    deployment: Deployment, fake: FakePrefect, dev: Environment, requester: User
) -> None:
    notifications.subscribe(requester, [(Topic.STALLED, None)], by=by(requester))
    record = fake.add_run(deployment.prefect_id)
    fake.set_state(record.id, "CANCELLING", at=timezone.now() - timedelta(hours=1))
    mirror.sync(dev)
    assert kinds(Kind.RUN_APPEARED, Kind.RUNS_STALLED) == [Kind.RUN_APPEARED, Kind.RUNS_STALLED]
    assert all(each.is_history for each in RunEvent.objects.all())
    assert not notices().exists()


@pytest.mark.django_db
def test_what_is_read_before_a_first_reading_is_history_on_a_server_of_another_environment(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    mirror.sync(dev)
    Health.objects.update(synced_for=[make_environment("next").pk])
    record = fake.add_run(deployment.prefect_id)
    mirror.refresh_state(dev, [record.id])
    assert RunEvent.objects.get().is_history


@pytest.mark.django_db
def test_an_old_run_that_is_read_late_is_history(deployment: Deployment, fake: FakePrefect, dev: Environment) -> None:
    mirror.sync(dev)
    now = timezone.now()
    old, recent = fake.add_run(deployment.prefect_id), fake.add_run(deployment.prefect_id)
    for record, ago in ((old, timedelta(days=3)), (recent, timedelta(0))):
        fake.set_state(record.id, "COMPLETED", at=now - ago)
        fake.change_run(record.id, ended_at=now - ago)
    mirror.refresh_state(dev, [old.id, recent.id])
    history = dict(RunEvent.objects.values_list("run_id", "is_history"))
    assert {str(Run.objects.get(pk=pk).prefect_id): flag for pk, flag in history.items()} == {
        str(old.id): True,
        str(recent.id): False,
    }


@pytest.mark.django_db
def test_each_step_of_a_request_is_an_event(
    prod_deployment: Deployment, prod_fake: FakePrefect, requester: User, approver: User
) -> None:
    def ask() -> RunRequest:
        return requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")

    launched, rejected, withdrawn, expired = ask(), ask(), ask(), ask()
    changes.approve(launched.change, by=by(approver))
    dispatch.launch(RunRequest.objects.get(pk=launched.pk))
    changes.reject(rejected.change, by=by(approver), reason="No")
    changes.withdraw(withdrawn.change, by=by(requester))
    ChangeRequest.objects.filter(pk=expired.change_id).update(expires_at=timezone.now() - timedelta(seconds=1))
    tasks.expire()
    steps = {
        launched: [Kind.REQUEST_WAITING, Kind.REQUEST_APPROVED, Kind.REQUEST_LAUNCHED],
        rejected: [Kind.REQUEST_WAITING, Kind.REQUEST_REJECTED],
        withdrawn: [Kind.REQUEST_WAITING, Kind.REQUEST_WITHDRAWN],
        expired: [Kind.REQUEST_WAITING, Kind.REQUEST_EXPIRED],
    }
    for run_request, expected in steps.items():
        found = RunEvent.objects.filter(request_id=run_request.pk).order_by("pk")
        assert [each.kind for each in found] == expected
        assert {(each.environment_id, each.deployment_id) for each in found} == {
            (prod_deployment.environment_id, prod_deployment.pk)
        }


@pytest.mark.django_db
def test_no_event_holds_the_value_of_a_parameter(prod_deployment: Deployment, requester: User, approver: User) -> None:
    notifications.subscribe(approver, [(Topic.WAITING, None)], by=by(approver))
    run_request = requests.submit(prod_deployment, {"month": "1999-12"}, by=by(requester), reason="month end")
    told = notices().get()
    assert told.person == approver
    changes.approve(run_request.change, by=by(approver))
    assert RunEvent.objects.count() == 2
    assert "1999-12" not in repr([each.data for each in RunEvent.objects.all()]) + told.text
