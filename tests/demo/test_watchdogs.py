"""The watch over background tasks and follower: a queue of which nothing is taken is stuck, a long one is not."""

import os
import time
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from portal.demo.watchdogs import HeartbeatWatch, QueueWatch
from runs.models import QueuedTask


def put(*, waits: timedelta, runs_for: timedelta | None = None) -> QueuedTask:
    now = timezone.now()
    taken_at = now - runs_for if runs_for is not None else None
    return QueuedTask.objects.create(task="t", args="[]", priority=1, queued_at=now - waits, taken_at=taken_at)


LONG = 3600.0


def test_a_task_that_nobody_takes_is_a_sentence(own_database: str) -> None:
    put(waits=timedelta(minutes=10))
    watch = QueueWatch(own_database, check_every=0)
    assert "600 s" in watch.problem(LONG)
    assert watch.problem(10) == "", "a restarted process gets its full time again"


def test_a_long_queue_that_is_worked_on_is_well(own_database: str) -> None:
    put(waits=timedelta(minutes=10))
    put(waits=timedelta(minutes=10), runs_for=timedelta(seconds=50))
    watch = QueueWatch(own_database, check_every=0)
    assert watch.problem(LONG) == ""


def test_a_task_whose_process_is_long_gone_is_not_work(own_database: str) -> None:
    put(waits=timedelta(minutes=10))
    put(waits=timedelta(minutes=10), runs_for=timedelta(minutes=5))
    watch = QueueWatch(own_database, check_every=0)
    assert "600 s" in watch.problem(LONG)


def test_no_tasks_at_all_is_well(own_database: str) -> None:
    watch = QueueWatch(own_database, patience=1, check_every=0)
    assert watch.problem(LONG) == ""


def test_it_looks_only_now_and_then(own_database: str) -> None:
    put(waits=timedelta(minutes=10))
    watch = QueueWatch(own_database, check_every=600)
    assert [bool(watch.problem(LONG)) for _ in range(3)] == [True, False, False]


def test_a_database_that_is_away_is_not_the_queues_illness() -> None:
    watch = QueueWatch("postgresql://nobody@127.0.0.1:9/none", patience=0, check_every=0)
    assert [watch.problem(LONG), watch.problem(LONG)] == ["", ""]


def test_a_loop_that_stands_still_is_a_sentence(tmp_path: Path) -> None:
    watch = HeartbeatWatch(tmp_path / "beat", silence=60)
    assert watch.problem(age=5) == "", "it was only just started"
    assert "100 s" in watch.problem(age=100)
    (tmp_path / "beat").touch()
    assert watch.problem(age=100) == ""
    long_ago = time.time() - 3600
    os.utime(tmp_path / "beat", (long_ago, long_ago))
    assert "100 s" in watch.problem(age=100)
    assert watch.problem(age=5) == "", "a restarted follower gets its full time again"
