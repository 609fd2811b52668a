"""A real worker is killed while it starts a run: the run is found, put back, and completes once."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from flows.catalog import sync
from flows.models import Deployment, Server
from portal.demo.processes import ROOT
from runs import dispatch, mirror, requests
from runs.models import Action, AuditEntry, Run, RunRequest, Stall
from runs.models.action import State
from tests.cast import by, make_environment, person

pytestmark = pytest.mark.django_db
PATIENCE = 180
# A worker that claims runs and never gets as far as starting a process.
HANGING = """
import sys
import anyio
from prefect.workers.process import ProcessWorker
async def hang(self, *words, **options):
    await anyio.sleep_forever()
ProcessWorker.run = hang
anyio.run(ProcessWorker(work_pool_name=sys.argv[1]).start)
"""
WORKING = """
import sys
import anyio
from prefect.workers.process import ProcessWorker
anyio.run(ProcessWorker(work_pool_name=sys.argv[1]).start)
"""
Start = Callable[[str], subprocess.Popen[bytes]]


@pytest.fixture
def pool(prefect_server: Any) -> Iterator[str]:
    """A work pool with one deployment that any worker of it can run."""
    user, _, password = prefect_server.auth.partition(":")
    name = f"killed-{uuid4()}"
    with httpx.Client(base_url=prefect_server.api_url, auth=(user, password), timeout=30) as client:
        client.post("/work_pools/", json={"name": name, "type": "process"}).raise_for_status()
        flow = client.post("/flows/", json={"name": "heartbeat"}).raise_for_status().json()["id"]
        body = {
            "name": name,
            "flow_id": flow,
            "work_pool_name": name,
            "entrypoint": "flows.crm.sample_flows.heartbeat",
            "path": str(ROOT),
            "parameter_openapi_schema": {"type": "object", "properties": {}},
        }
        client.post("/deployments/", json=body).raise_for_status()
        yield name
        client.delete(f"/work_pools/{name}")


@pytest.fixture
def start(prefect_server: Any, pool: str, tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[bytes]] = []
    settings = {
        "PREFECT_API_URL": prefect_server.api_url,
        "PREFECT_API_AUTH_STRING": prefect_server.auth,
        "PREFECT_HOME": str(tmp_path),
        "PREFECT_WORKER_HEARTBEAT_SECONDS": "2",
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PYTHONPATH": str(ROOT),
    }

    def worker(code: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-c", code, pool], cwd=ROOT, env=os.environ | settings, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield worker
    for process in started:
        process.kill()
        process.wait()


def wait_for(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not look():
        assert time.monotonic() < deadline, f"{PATIENCE} s passed without {what}."
        time.sleep(1)


def test_a_run_whose_worker_was_killed_is_put_back_and_runs_once(
    prefect_server: Any, pool: str, start: Start, settings: Any
) -> None:
    # 1. A request, launched in a real Prefect.
    settings.PREFECT_CLIENT = "flows.prefect_api.connect.for_server"
    server = Server(api_url=prefect_server.api_url, credential_kind="basic")
    server.credential = prefect_server.auth
    server.save()
    environment = make_environment("real", server=server, pending_minutes=1)
    sync.sync(environment)
    requester = person("requester", "Operator")
    deployment = Deployment.objects.get(full_name=f"heartbeat/{pool}")
    run_request = requests.submit(deployment, {}, by=by(requester))
    dispatch.launch(run_request)

    def run() -> Run:
        mirror.sync(environment)
        return Run.objects.select_related("environment", "deployment").get(run_request=run_request)

    # 2. A worker picks it up and is killed before there is a process; another one comes.
    doomed = start(HANGING)
    wait_for(lambda: run().state_type == "PENDING", "a worker that picks the run up")
    doomed.kill()
    start(WORKING)
    wait_for(lambda: run().stalled_kind == Stall.PENDING, "the stalled run being found")
    assert run().infrastructure_pid == ""
    # 3. It is put back without a person, and completes once.
    wait_for(lambda: dispatch.put_back_stalled(environment) == 1, "the certainty that its worker is gone")
    recovery = Action.objects.get()
    dispatch.carry_out(recovery)
    recovery.refresh_from_db()
    assert (recovery.state, recovery.message) == (State.DONE, "")
    wait_for(lambda: run().is_terminal, "the end of the run")
    ended = run()
    assert (ended.state_type, ended.run_count, ended.stalled_kind) == ("COMPLETED", 1, "")
    assert RunRequest.objects.get().state == RunRequest.State.COMPLETED
    recorded = AuditEntry.objects.filter(verb__in=["run.put_back", "run.recovered"]).order_by("sequence")
    assert list(recorded.values_list("verb", "actor_kind")) == [("run.put_back", "system"), ("run.recovered", "system")]
