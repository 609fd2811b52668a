"""Work pools and queues are rows that follow Prefect; what is deleted there is marked here."""

from __future__ import annotations

import pytest

from flows.catalog import sync
from flows.models import Environment, WorkPool, WorkQueue
from tests.fakes import records
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


def queues(pool: str) -> list[tuple[str, int, int | None, bool]]:
    rows = WorkQueue.current.filter(pool__name=pool)
    return list(rows.values_list("name", "priority", "concurrency_limit", "is_paused"))


def test_pools_and_their_queues_are_rows(dev: Environment, fake: FakePrefect) -> None:
    fast = records.work_queue("fast", priority=1, concurrency_limit=2)
    slow = records.work_queue("slow", priority=2, is_paused=True)
    fake.add_work_pool("gpu", type="kubernetes", concurrency_limit=4, description="cards", queues=(slow, fast))
    sync.sync(dev)
    pool = WorkPool.current.get()
    assert (pool.name, pool.type, pool.concurrency_limit, pool.description) == ("gpu", "kubernetes", 4, "cards")
    assert queues("gpu") == [("fast", 1, 2, False), ("slow", 2, None, True)]


def test_what_is_deleted_is_marked_and_comes_back_as_the_same_row(dev: Environment, fake: FakePrefect) -> None:
    fake.add_work_pool("gpu", queues=(records.work_queue("fast"), records.work_queue("slow")))
    sync.sync(dev)
    before = WorkPool.current.get().pk
    fake.change_work_pool("gpu", queues=(records.work_queue("fast"),))
    sync.sync(dev)
    assert queues("gpu") == [("fast", 1, None, False)]
    fake.remove_work_pool("gpu")
    sync.sync(dev)
    assert not WorkPool.current.exists()
    assert not WorkQueue.current.exists()
    fake.add_work_pool("gpu")
    sync.sync(dev)
    assert WorkPool.current.get().pk == before
    assert queues("gpu") == [("default", 1, None, False)]


def test_pools_of_one_name_in_two_environments_are_two(
    dev: Environment, prod: Environment, fake: FakePrefect, prod_fake: FakePrefect
) -> None:
    fake.add_work_pool("gpu")
    prod_fake.add_work_pool("gpu", is_paused=True)
    for place in (dev, prod):
        sync.sync(place)
    assert set(WorkPool.current.values_list("environment__slug", "is_paused")) == {("dev", False), ("prod", True)}
