"""The queue with a real cluster of background tasks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.db import transaction
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q.models import OrmQ, Schedule

from flows.models import Deployment, Environment
from portal.demo.processes import Program, Reaper, inherited_environment, time_zone
from portal.demo.supervisor import Part, Supervisor
from runs import periodic, queue
from runs.models import RunRequest
from runs.models.request import State

pytestmark = pytest.mark.usefixtures("own_database")


@pytest.fixture
def expired(own_database: str) -> RunRequest:
    """A request that the task `runs.tasks.expire` will close."""
    now = timezone.now()
    environment = Environment.objects.create(slug="dev", api_url="http://dev.test/api")
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
    return RunRequest.objects.create(
        environment=environment,
        deployment=deployment,
        environment_name="dev",
        deployment_name="f/d",
        deployment_prefect_id=deployment.prefect_id,
        requested_by_name="somebody",
        channel="admin",
        state=State.WAITING,
        expires_at=now - timedelta(minutes=1),
    )


@pytest.fixture
def cluster(own_database: str, tmp_path: Path) -> Iterator[Path]:
    """A running `qcluster`; its log."""
    log = tmp_path / "qcluster.log"
    program = Program(
        name="qcluster",
        command=(sys.executable, "manage.py", "qcluster"),
        log=log,
        environment=inherited_environment() | time_zone() | {"DATABASE_URL": own_database, "PORTAL_MODE": "test"},
        ready=lambda: "running." in log.read_text(),
        waits_for="its own word that it runs",
    )
    reaper = Reaper(str(tmp_path))
    supervisor = Supervisor([Part(program)], reaper, lambda line: None)
    try:
        supervisor.start()
        yield log
    finally:
        supervisor.stop()
        reaper.dismiss()


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
    expired: RunRequest, cluster: Path
) -> None:
    with transaction.atomic():
        queue.enqueue("runs.tasks.expire")
        transaction.set_rollback(True)
    with transaction.atomic():
        queue.enqueue("runs.tasks.expire")
        time.sleep(1.5)
        assert state(expired) == State.WAITING
    assert until(lambda: state(expired) == State.EXPIRED)
    assert until(lambda: not OrmQ.objects.exists())
    assert cluster.read_text().count("processing") == 1


def test_the_clock_s_table_becomes_the_schedules(own_database: str) -> None:
    Schedule.objects.create(name="old", func="runs.tasks.gone")
    periodic.sync_schedules()
    periodic.sync_schedules()
    assert dict(Schedule.objects.values_list("name", "func")) == {
        name: row[0] for name, row in periodic.PERIODIC.items()
    }


def test_every_task_of_the_clock_exists() -> None:
    for task, *_ in periodic.PERIODIC.values():
        assert callable(import_string(task))
