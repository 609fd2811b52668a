"""The queue of background tasks, and the processes that run them."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest
from django.db import connection, transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import Schedule
from django_q.worker import worker

from flows.models import Deployment
from portal.demo.processes import ROOT, inherited_environment, time_zone
from runs import cluster, notifications, periodic, queue, tasks
from runs.broker import QueueBroker
from runs.dispatch import leases
from runs.models import ChangeRequest, QueuedTask, RunRequest, RunSpec
from runs.models.request import State
from runs.queue import Priority
from tests.cast import make_environment
from tests.sessions import elsewhere

pytestmark = pytest.mark.usefixtures("own_database")

LAUNCH, REFRESH, SYNC, EXPIRE = (f"runs.tasks.{name}" for name in ("launch", "refresh", "sync", "expire"))


def rows() -> list[str]:
    return [str(row) for row in QueuedTask.objects.order_by("pk")]


def in_another_session(work: Callable[[], object]) -> None:
    """Run `work` in a session that is gone afterwards, as after a kill."""
    keys: list[int] = []

    def run() -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            keys.append(cursor.fetchone()[0])
        work()

    with elsewhere(run):
        pass
    # Postgres notices a moment later.
    assert until(lambda: not is_there(keys[0]))


def is_there(backend: int) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = %s)", [backend])
        found: bool = cursor.fetchone()[0]
    return found


# A row that waits


def test_a_task_that_waits_is_not_queued_again() -> None:
    for _ in range(3):
        queue.enqueue(REFRESH, 1)
    queue.enqueue(REFRESH, 2)
    queue.enqueue(LAUNCH, 1)
    assert rows() == ["refresh[1]", "refresh[2]", "launch[1]"]


def test_a_task_that_is_running_is_queued_once_more_and_not_run_beside_itself() -> None:
    queue.enqueue(SYNC, 1)
    running = queue.take()
    assert running
    queue.enqueue(SYNC, 1)
    queue.enqueue(SYNC, 1)
    assert rows() == ["sync[1]", "sync[1]"]
    assert queue.take() is None
    queue.finish(running.pk)
    assert queue.take()
    assert rows() == ["sync[1]"]


def test_a_task_that_nobody_knows_is_not_queued() -> None:
    with pytest.raises(KeyError):
        queue.enqueue("os.remove", "/")
    assert rows() == []


def test_every_task_has_a_priority() -> None:
    here = {f"runs.tasks.{name}" for name, it in vars(tasks).items() if getattr(it, "__module__", "") == "runs.tasks"}
    assert here == set(queue.TASKS)
    assert set(periodic.PERIODIC) <= here


def test_what_an_open_transaction_relies_on_is_not_taken_before_its_end() -> None:
    queue.enqueue(SYNC, 1)
    with elsewhere(lambda: queue.enqueue(SYNC, 1)):
        assert queue.take() is None
    assert queue.take()
    assert rows() == ["sync[1]"]


def test_queueing_never_waits_for_another_transaction() -> None:
    with elsewhere(lambda: queue.enqueue(SYNC, 1)), transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL lock_timeout = '200ms'")
        queue.enqueue(SYNC, 1)
    # Both saw none that waits; who takes one deletes the other.
    assert rows() == ["sync[1]", "sync[1]"]
    assert queue.take()
    assert rows() == ["sync[1]"]


@pytest.mark.parametrize("seed", range(3))
def test_no_wake_up_is_lost_however_queueing_and_taking_meet(seed: int) -> None:
    """Each writer commits a number with its wake-up; the number that a run reads last must be the last one."""
    dice = random.Random(seed)
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE written (number serial)")
    over, seen, longest = threading.Event(), [0], [0]

    def in_thread(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def write() -> None:
        for _ in range(60):
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("INSERT INTO written DEFAULT VALUES")
                queue.enqueue(SYNC, 1)
                time.sleep(dice.random() * 0.004)
            time.sleep(dice.random() * 0.004)

    def read() -> None:
        is_last = False
        while not is_last:
            is_last = over.is_set()
            while task := queue.take():
                longest[0] = max(longest[0], QueuedTask.objects.count())
                with connection.cursor() as cursor:
                    cursor.execute("SELECT count(*) FROM written")
                    seen[0] = cursor.fetchone()[0]
                time.sleep(dice.random() * 0.002)
                queue.finish(task.pk)

    readers = [in_thread(read) for _ in range(2)]
    writers = [in_thread(write) for _ in range(3)]
    for thread in writers:
        thread.join()
    over.set()
    for thread in readers:
        thread.join()
    assert seen == [180]
    assert rows() == []
    # One that runs, and one for each transaction that was open at the same time.
    assert longest[0] <= 4


# Who is first


def test_launches_are_taken_before_what_was_queued_earlier() -> None:
    for pk in range(150):
        queue.enqueue(REFRESH, pk)
    queue.enqueue(SYNC, 1)
    queue.enqueue(LAUNCH, 1)
    assert [str(queue.take()) for _ in range(3)] == ["launch(1)", "sync(1)", "refresh(0)"]


def test_a_process_kept_free_for_launches_takes_no_syncs() -> None:
    queue.enqueue(SYNC, 1)
    assert queue.take(up_to=Priority.FOLLOW_UP) is None
    assert cluster.PROCESSES[0] == Priority.FOLLOW_UP


def test_the_oldest_task_is_taken_now_and_then_whatever_its_priority() -> None:
    queue.enqueue(REFRESH, 1)
    queue.enqueue(LAUNCH, 1)
    assert str(queue.take(by_age=True)) == "refresh(1)"


# A process that is gone


def age(seconds: float) -> None:
    QueuedTask.objects.update(taken_at=timezone.now() - timedelta(seconds=seconds))


def test_a_task_whose_session_is_gone_is_due_again_after_its_lease() -> None:
    queue.enqueue(SYNC, 1)
    in_another_session(queue.take)
    assert queue.take() is None
    age(queue.LEASE.total_seconds() + 1)
    queue.enqueue(SYNC, 1)
    assert queue.take()
    assert rows() == ["sync[1]"], "the row that waited is done by the same run"


def test_a_task_that_takes_long_is_not_started_a_second_time() -> None:
    queue.enqueue(SYNC, 1)
    task = queue.take()
    assert task
    age(queue.LEASE.total_seconds() + 30)
    taken: list[queue.Task | None] = []
    in_another_session(lambda: taken.append(queue.take()))
    age(queue.LONGEST.total_seconds() + 1)
    in_another_session(lambda: taken.append(queue.take()))
    assert taken == [None, task]


def test_every_kill_is_healed_within_half_a_minute() -> None:
    """By the numbers; the measured times are in benchmarks."""
    from_kill = queue.LEASE.total_seconds() + cluster.FALLBACK_SECONDS + cluster.PAUSE_SECONDS
    assert from_kill < 30
    # A row whose task is taken again after a kill must be due by then, or it waits for `requeue_due` too.
    assert max(leases.LEASE, notifications.LEASE) < queue.LEASE
    assert queue.LONGEST.total_seconds() > cluster.TIMEOUT + cluster.GRACE + cluster.PAUSE_SECONDS


# The processes


@pytest.fixture
def expired(own_database: str) -> RunRequest:
    """A request that the task `runs.tasks.expire` will close."""
    now = timezone.now()
    environment = make_environment("dev")
    ids = "00000000-0000-0000-0000-00000000000"
    deployment = Deployment.objects.create(
        environment=environment,
        prefect_id=f"{ids}1",
        flow_id=f"{ids}2",
        flow_name="f",
        name="d",
        full_name="f/d",
        synced_at=now,
    )
    change = ChangeRequest.objects.create(
        environment=environment,
        environment_name="dev",
        requested_by_name="somebody",
        channel="admin",
        state=ChangeRequest.State.WAITING,
        expires_at=now - timedelta(minutes=1),
    )
    spec = RunSpec.objects.create(
        change=change, deployment=deployment, deployment_name="f/d", deployment_prefect_id=deployment.prefect_id
    )
    return RunRequest.objects.create(
        pk=change.pk, change=change, spec=spec, environment=environment, deployment=deployment, state=State.HELD
    )


class Running:
    """`manage.py qcluster` on a database, in a process group of its own."""

    def __init__(self, database: str, log: Path) -> None:
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "qcluster"],
            cwd=ROOT,
            env=inherited_environment() | time_zone() | {"DATABASE_URL": database, "PORTAL_MODE": "test"},
            stdout=log.open("w"),
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def children(self) -> list[int]:
        listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
        return [pid for pid, parent in pairs if parent == self.process.pid]

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(20)


@pytest.fixture
def running(own_database: str, tmp_path: Path) -> Iterator[Running]:
    it = Running(own_database, tmp_path / "background.log")
    try:
        assert until(lambda: len(it.children()) == len(cluster.PROCESSES))
        yield it
    finally:
        if it.process.poll() is None:
            os.killpg(it.process.pid, signal.SIGKILL)
            it.process.wait()


def until(true: Callable[[], bool], seconds: float = 20) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


def state(run_request: RunRequest) -> str:
    return RunRequest.objects.values_list("state", flat=True).get(pk=run_request.pk)


def test_a_task_runs_once_its_transaction_is_committed_and_never_if_it_is_not(
    expired: RunRequest, running: Running
) -> None:
    with transaction.atomic():
        queue.enqueue(EXPIRE)
        transaction.set_rollback(True)
    with transaction.atomic():
        queue.enqueue(EXPIRE)
        time.sleep(1.5)
        assert state(expired) == State.HELD
    assert until(lambda: state(expired) == State.EXPIRED)
    assert until(lambda: not QueuedTask.objects.exists())
    assert running.log.read_text().count("expire()") == 1


def test_a_killed_process_is_replaced_and_holds_up_no_other(expired: RunRequest, running: Running) -> None:
    before = set(running.children())
    # All but one: whichever the kernel gave the work to, idle or not.
    for pid in sorted(before)[:-1]:
        os.kill(pid, signal.SIGKILL)
    queue.enqueue(EXPIRE)
    assert until(lambda: state(expired) == State.EXPIRED, 10)
    assert until(lambda: len(set(running.children()) - before) == len(before) - 1, 10)


def test_the_processes_end_when_their_parent_is_gone(running: Running) -> None:
    children = running.children()
    running.process.kill()
    running.process.wait()

    def alive(pid: int) -> bool:
        stat = Path(f"/proc/{pid}/stat")
        try:
            return stat.read_text().rpartition(")")[2].split()[0] != "Z"
        except FileNotFoundError:
            return False

    assert until(lambda: not any(map(alive, children)), 10)


def test_the_processes_end_when_they_are_asked_to(running: Running) -> None:
    assert running.end() == 0


def test_a_task_that_fails_or_is_unknown_ends_and_the_next_is_run(
    expired: RunRequest, running: Running, own_database: str
) -> None:
    queue.enqueue(REFRESH, 404)
    with psycopg.connect(own_database) as session:
        session.execute("INSERT INTO runs_queuedtask (task, args, priority) VALUES ('os.getpid', '[]', 1)")
    queue.enqueue(EXPIRE)
    assert until(lambda: state(expired) == State.EXPIRED)
    assert until(lambda: not QueuedTask.objects.exists())
    assert "os.getpid is not one of the tasks" in running.log.read_text()


def test_a_task_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch, own_database: str) -> None:
    monkeypatch.setattr(tasks, "expire", lambda: time.sleep(5))
    queue.enqueue(EXPIRE)
    broker, before = QueueBroker(), signal.getsignal(signal.SIGTERM)
    began = time.monotonic()
    try:
        worker(cluster.Tasks(broker, os.getppid()), cluster.Results(broker), cluster.Timer(), 1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - began < 4
    assert rows() == []


def test_a_task_that_cannot_be_interrupted_is_killed_with_its_process() -> None:
    timer = cluster.Timer()
    assert timer.busy_seconds == 0
    timer.value = 60
    time.sleep(0.05)
    assert 0.05 <= timer.busy_seconds < 5
    timer.value = -1
    assert timer.busy_seconds == 0


# What is done periodically


def test_the_table_of_periodic_tasks_becomes_rows() -> None:
    Schedule.objects.create(name="gone", func="runs.tasks.gone", schedule_type=Schedule.MINUTES, minutes=1)
    periodic.sync_schedules()
    first = dict(Schedule.objects.values_list("name", "next_run"))
    periodic.sync_schedules()
    assert dict(Schedule.objects.values_list("name", "next_run")) == first, "a deploy delays none"
    often = sorted(Schedule.objects.filter(func="runs.tasks.requeue_due").values_list("next_run", flat=True))
    apart = {round((later - earlier).total_seconds()) for earlier, later in pairwise(often)}
    assert (len(often), apart) == (12, {5})
    assert set(Schedule.objects.values_list("func", flat=True)) == set(periodic.PERIODIC)


def test_what_is_due_is_queued_once_however_late_it_is() -> None:
    periodic.sync_schedules()
    Schedule.objects.update(next_run=timezone.now() - timedelta(days=1))
    periodic.queue_due(QueueBroker())
    periodic.queue_due(QueueBroker())
    assert {row.task for row in QueuedTask.objects.all()} == set(periodic.PERIODIC)
    assert QueuedTask.objects.count() == len(periodic.PERIODIC)
    assert not Schedule.objects.filter(next_run__lte=timezone.now()).exists()


def test_what_cannot_be_queued_is_not_tried_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    periodic.sync_schedules()
    monkeypatch.setattr(periodic, "scheduler", lambda broker: None)  # what django-q2's does after an error
    assert periodic.queue_due(QueueBroker()) > timezone.now() + periodic.SOON / 2


def test_a_process_wakes_up_for_what_is_due_next() -> None:
    periodic.sync_schedules()
    assert periodic.queue_due(QueueBroker()) == Schedule.objects.earliest("next_run").next_run


def test_while_another_process_queues_what_is_due_it_is_asked_again_soon() -> None:
    periodic.sync_schedules()
    with elsewhere(hold_scheduling):
        again = periodic.queue_due(QueueBroker())
    assert again <= timezone.now() + periodic.SOON
    assert rows() == []


def hold_scheduling() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [periodic.SCHEDULING])


def test_every_periodic_task_exists() -> None:
    for task in periodic.PERIODIC:
        assert callable(import_string(task))
