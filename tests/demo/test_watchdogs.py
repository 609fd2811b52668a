"""The watch over background tasks and follower: a queue whose head stays is stuck, a long one is not."""

import os
import time
from datetime import timedelta
from pathlib import Path

from django.utils import timezone
from django_q.models import OrmQ

from portal.demo.watchdogs import HeartbeatWatch, QueueWatch


def put(*, due: timedelta) -> OrmQ:
    return OrmQ.objects.create(key="portal", payload="", lock=timezone.now() + due)


LONG = 3600.0


def test_a_head_that_nobody_takes_is_a_sentence(own_database: str) -> None:
    put(due=timedelta(minutes=-10))
    watch = QueueWatch(own_database, patience=0.2, check_every=0)
    assert watch.problem(LONG) == ""
    time.sleep(0.2)
    assert "0 s" in watch.problem(LONG)
    assert watch.problem(0.1) == "", "a restarted cluster gets its full time again"


def test_a_backlog_that_moves_is_well(own_database: str) -> None:
    watch = QueueWatch(own_database, patience=0, check_every=0)
    tasks = [put(due=timedelta(minutes=-10 + minute)) for minute in range(5)]
    for task in tasks:
        assert watch.problem(LONG) == ""
        task.delete()


def test_tasks_at_work_and_no_tasks_at_all_are_well(own_database: str) -> None:
    watch = QueueWatch(own_database, patience=0, check_every=0)
    assert watch.problem(LONG) == ""
    put(due=timedelta(minutes=2))
    assert [watch.problem(LONG), watch.problem(LONG)] == ["", ""]


def test_it_looks_only_now_and_then(own_database: str) -> None:
    put(due=timedelta(minutes=-10))
    watch = QueueWatch(own_database, patience=0, check_every=600)
    assert {watch.problem(LONG) for _ in range(3)} == {""}


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
