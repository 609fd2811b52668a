"""Failures that are grouped by several processes at once make one group."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment
from runs import tasks
from runs.failures import grouping
from runs.models import FailedRun, FailureGroup, RunEvent
from tests.cast import FAKES, make_environment
from tests.failed_runs import fail
from tests.fakes.prefect import FakePrefect

FAILURES = 8


@pytest.fixture
def deployment(own_database: str) -> Deployment:
    """In a database where commits are real."""
    dev = make_environment("dev")
    fake = FAKES.setdefault(dev.server.api_url, FakePrefect())
    fake.add_deployment(flow_name="monthly", name="monthly")
    sync.sync(dev)
    return Deployment.objects.get()


def test_two_processes_at_once_make_one_group_and_count_each_failure_once(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One failure in each transaction, so that all of them want the group that is not there yet.
    monkeypatch.setattr(grouping, "AT_ONCE", 1)
    for number in range(FAILURES):
        fail(deployment, f"ValueError: bad {number}")
    tasks.deliver_events()
    FailedRun.objects.update(seen_at=timezone.now() - timedelta(minutes=1))
    barrier = threading.Barrier(4)

    def work() -> None:
        barrier.wait()
        grouping.group_due()
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    group = FailureGroup.objects.get()
    assert (group.number, group.failed_runs.count(), group.days.get().number) == (FAILURES,) * 3
    assert RunEvent.objects.filter(kind=RunEvent.Kind.FAILURE_APPEARED).count() == 1
