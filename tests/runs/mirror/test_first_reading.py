"""The first reading of all runs: in steps, interrupted and resumed, without losing or doubling any."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils import timezone

from flows.catalog import health, sync
from flows.models import Deployment, Environment, Health
from flows.prefect_api.records import FlowRunRecord
from runs import mirror, tasks
from runs.mirror import first_reading
from runs.models import AuditEntry, QueuedTask, Run, RunEvent
from tests.cast import make_environment
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """What no code handles."""


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(first_reading, "BATCH", 4)
    monkeypatch.setattr(first_reading, "STEP_SECONDS", 0)  # a clock: one batch a step


@pytest.fixture
def old(fake: FakePrefect, deployment: Deployment) -> list[FlowRunRecord]:
    """Twelve runs of the days before; three of them ended at the same time."""
    now = timezone.now()
    ends = [now - timedelta(days=1, hours=number // 3 if number in (3, 4, 5) else number) for number in range(12)]
    return [
        fake.add_run(deployment.prefect_id, state_type="COMPLETED", started_at=end, ended_at=end, created_at=end)
        for end in ends
    ]


def kill_after(fake: FakePrefect, monkeypatch: pytest.MonkeyPatch, runs: int) -> None:
    """Have the process die while it reads the history, after so many runs; the next one is as before."""
    listed = fake.flow_runs_ended_since

    def dying(since: datetime, *, until: datetime | None = None) -> Iterator[FlowRunRecord]:
        found = listed(since, until=until)
        if until is None:
            yield from found
            return
        for _ in range(runs):
            yield next(found)
        raise Killed

    monkeypatch.setattr(fake, "flow_runs_ended_since", dying)


def test_what_is_killed_goes_on_where_it_was(
    dev: Environment, fake: FakePrefect, old: list[FlowRunRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(first_reading, "STEP_SECONDS", 60)
        kill_after(fake, patched, 10)
        with pytest.raises(Killed):
            mirror.sync(dev)
    reading = Health.objects.get(server=dev.server)
    assert (Run.objects.count(), reading.history_runs, reading.runs_synced_at) == (8, 8, None)
    fake.calls.clear()
    mirror.sync(dev)
    assert sorted(Run.objects.values_list("prefect_id", flat=True)) == sorted(each.id for each in old)
    history = [call for call in fake.calls if call.method == "flow_runs_ended_since" and call.arguments["until"]]
    assert history[0].arguments["until"] == reading.history_position
    assert not [each for each in history if each.arguments["until"] > reading.history_position]


def test_it_is_history_recorded_once(dev: Environment, old: list[FlowRunRecord]) -> None:
    mirror.sync(dev)
    assert RunEvent.objects.filter(is_history=False, kind=RunEvent.Kind.RUN_APPEARED).count() == 0
    assert RunEvent.objects.filter(is_history=True, kind=RunEvent.Kind.RUN_APPEARED).count() == len(old)
    assert [entry.after for entry in AuditEntry.objects.filter(verb="run.adopted")] == [{"runs": len(old)}]
    assert not AuditEntry.objects.filter(verb="run.appeared").exists()


def test_what_ends_while_it_reads_is_not_lost(
    dev: Environment, fake: FakePrefect, deployment: Deployment, old: list[FlowRunRecord]
) -> None:
    active = fake.add_run(deployment.prefect_id, state_type="RUNNING")
    assert mirror.sync_step(dev).progress == mirror.Progress.MORE
    fake.set_state(active.id, "COMPLETED")
    later = fake.add_run(deployment.prefect_id, state_type="FAILED")
    mirror.sync(dev)
    assert Run.objects.count() == len(old) + 2
    assert set(Run.objects.filter(prefect_id__in=[active.id, later.id]).values_list("state_type", flat=True)) == {
        "COMPLETED",
        "FAILED",
    }


def test_the_next_sweep_begins_where_the_last_step_did(dev: Environment, fake: FakePrefect, old: Any) -> None:
    mirror.sync(dev)
    reading = Health.objects.get(server=dev.server)
    assert (reading.history_begun_at, reading.history_position, reading.history_percent) == (None, None, None)
    assert reading.runs_synced_at
    fake.calls.clear()
    mirror.sync(dev)
    (call,) = [call for call in fake.calls if call.method == "flow_runs_ended_since"]
    assert call.arguments["until"] is None
    assert call.arguments["since"] < reading.runs_synced_at


def test_the_task_queues_the_next_step(dev: Environment, old: list[FlowRunRecord]) -> None:
    tasks.sync(dev.server_id)
    assert QueuedTask.objects.filter(task="runs.tasks.sync", args=f"[{dev.server_id}]").count() == 1
    assert 0 < Run.objects.count() < len(old)
    while not health.runs_synced_at(dev):
        QueuedTask.objects.all().delete()
        tasks.sync(dev.server_id)
    assert Run.objects.count() == len(old)
    assert not QueuedTask.objects.filter(task="runs.tasks.sync").exists()


def test_its_progress_is_how_much_of_the_time_it_covered(
    dev: Environment, fake: FakePrefect, deployment: Deployment, settings: Any
) -> None:
    settings.HISTORY_DAYS = 10
    for days in (1, 2, 3, 6):
        end = timezone.now() - timedelta(days=days)
        fake.add_run(deployment.prefect_id, state_type="COMPLETED", started_at=end, ended_at=end)
    fake.add_run(deployment.prefect_id, state_type="COMPLETED", ended_at=timezone.now() - timedelta(days=8))
    mirror.sync_step(dev)
    reading = Health.objects.get(server=dev.server)
    assert (reading.history_percent, reading.history_runs) == (60, 4)


def test_another_environment_on_the_server_begins_anew(dev: Environment, fake: FakePrefect, old: Any) -> None:
    mirror.sync_step(dev)
    Environment.objects.update(is_active=False)
    spare = make_environment("spare", server=dev.server)
    sync.sync(spare)
    assert Health.objects.get(server=dev.server).history_position is None
    mirror.sync(spare)
    assert Run.objects.filter(environment=spare).count() == len(old)


def test_what_another_process_reads_is_left_to_it(dev: Environment, old: list[FlowRunRecord]) -> None:
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, %s)", [first_reading.HISTORY_LOCK, dev.pk])
        assert mirror.sync_step(dev).progress == mirror.Progress.ELSEWHERE
        assert not Run.objects.exists()
    finally:
        other.close()
    mirror.sync(dev)
    assert Run.objects.count() == len(old)
