"""The watch over the background tasks: a queue whose head stays is stuck, a long one is not."""

from datetime import timedelta

from django.utils import timezone
from django_q.models import OrmQ

from portal.stack.queue import QueueWatch


def put(*, due: timedelta) -> OrmQ:
    return OrmQ.objects.create(key="portal", payload="", lock=timezone.now() + due)


def test_a_head_that_nobody_takes_is_a_sentence(own_database: str) -> None:
    put(due=timedelta(minutes=-10))
    watch = QueueWatch(own_database, patience=0, look_every=0)
    assert watch.ailment() == ""
    assert watch.ailment() == "the task at the head of the queue was not taken for 0 s."
    assert watch.ailment() == "", "a restarted cluster gets its full time again"


def test_a_backlog_that_moves_is_well(own_database: str) -> None:
    watch = QueueWatch(own_database, patience=0, look_every=0)
    tasks = [put(due=timedelta(minutes=-10 + minute)) for minute in range(5)]
    for task in tasks:
        assert watch.ailment() == ""
        task.delete()


def test_tasks_at_work_and_no_tasks_at_all_are_well(own_database: str) -> None:
    watch = QueueWatch(own_database, patience=0, look_every=0)
    assert watch.ailment() == ""
    put(due=timedelta(minutes=2))
    assert [watch.ailment(), watch.ailment()] == ["", ""]


def test_it_looks_only_now_and_then(own_database: str) -> None:
    put(due=timedelta(minutes=-10))
    watch = QueueWatch(own_database, patience=0, look_every=600)
    assert {watch.ailment() for _ in range(3)} == {""}


def test_a_database_that_is_away_is_not_the_queues_illness() -> None:
    watch = QueueWatch("postgresql://nobody@127.0.0.1:9/none", patience=0, look_every=0)
    assert [watch.ailment(), watch.ailment()] == ["", ""]
