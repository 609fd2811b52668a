"""Publishing: what is told of each deployment, what is left alone, and how trouble is explained."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate, DeploymentUpdate
from prefect.client.schemas.objects import State
from prefect.client.schemas.schedules import CronSchedule
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows import deploy
from tests.conftest import Prefect

Output = pytest.CaptureFixture[str]
PATIENCE = 240  # seconds; a worker looks for work every few of them, and starting a flow takes some more


def publish(capsys: Output, *arguments: str) -> list[str]:
    assert deploy.main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def refusal(capsys: Output, *arguments: str) -> str:
    assert deploy.main(arguments) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    return printed.err.strip()


@pytest.fixture
def pool(prefix: str, client: SyncPrefectClient, capsys: Output) -> str:
    """A work pool that has one deployment, of heartbeat."""
    publish(capsys, "--pool", f"{prefix}pool", "--prefix", prefix, "--only", "heartbeat")
    return f"{prefix}pool"


def test_every_pipeline_is_created_once_and_then_unchanged(
    client: SyncPrefectClient, prefix: str, capsys: Output
) -> None:
    arguments = ("--pool", f"{prefix}pool", "--prefix", prefix)
    first, second = publish(capsys, *arguments), publish(capsys, *arguments)
    assert (
        first[0] == f"Work pool {prefix}pool: created; start a worker with `prefect worker start --pool {prefix}pool`"
    )
    assert second[0] == f"Work pool {prefix}pool: exists, type process"
    for name, line in zip(deploy.PIPELINES, first[1:], strict=True):
        assert line.startswith(f"{name}/{prefix}{name}: created, version ")
    assert second[1:] == [f"{name}/{prefix}{name}: unchanged" for name in deploy.PIPELINES]


def test_a_deployment_says_what_a_worker_needs(client: SyncPrefectClient, prefix: str, capsys: Output) -> None:
    publish(capsys, "--pool", f"{prefix}pool", "--prefix", prefix, "--only", "crm-data-acquisition", "--tag", "blue")
    found = client.read_deployment_by_name(f"crm-data-acquisition/{prefix}crm-data-acquisition")
    assert found.entrypoint == "flows.crm.acquisition:crm_data_acquisition"
    assert (found.work_pool_name, found.work_queue_name) == (f"{prefix}pool", "default")
    assert found.enforce_parameter_schema
    assert sorted(found.tags) == ["blue", "crm"]
    assert found.parameter_openapi_schema
    assert found.parameter_openapi_schema["required"] == ["snapshot_month"]
    assert found.description
    assert found.description.startswith("Take the CRM tables")
    assert client.read_work_pool(f"{prefix}pool").base_job_template["variables"]["properties"]["working_dir"]


def test_only_what_differs_is_told_and_sent(client: SyncPrefectClient, prefix: str, pool: str, capsys: Output) -> None:
    arguments = ("--pool", pool, "--prefix", prefix, "--only", "heartbeat")
    name = f"heartbeat/{prefix}heartbeat"
    assert publish(capsys, *arguments, "--tag", "blue")[1] == f"{name}: updated: tags"
    assert publish(capsys, *arguments, "--tag", "blue", "--tag", "blue")[1] == f"{name}: unchanged"
    assert publish(capsys, *arguments, "--queue", "slow")[1] == f"{name}: updated: tags, work_queue_name"
    found = client.read_deployment_by_name(name)
    assert (found.tags, found.work_pool_name, found.work_queue_name) == (["sample"], pool, "slow")
    assert publish(capsys, *arguments, "--working-directory", "/srv")[1] == (
        f"{name}: updated: work_queue_name, pull_steps"
    )
    client.update_deployment(found.id, DeploymentUpdate(version="0.0.1+old"))
    version = deploy.version(deploy.PIPELINES["heartbeat"])
    assert publish(capsys, *arguments, "--working-directory", "/srv")[1] == (
        f"{name}: updated: version 0.0.1+old -> {version}"
    )


def test_what_operations_decided_is_left_alone(
    client: SyncPrefectClient, prefix: str, pool: str, capsys: Output
) -> None:
    name = f"heartbeat/{prefix}heartbeat"
    there = client.read_deployment_by_name(name)
    client.create_deployment_schedules(there.id, [DeploymentScheduleCreate(schedule=CronSchedule(cron="0 6 1 1 *"))])
    client.update_deployment(there.id, DeploymentUpdate(paused=True, job_variables={"env": {"A": "b"}}))
    publish(capsys, "--pool", pool, "--prefix", prefix, "--only", "heartbeat", "--tag", "blue")
    found = client.read_deployment_by_name(name)
    assert "blue" in found.tags
    assert found.id == there.id
    assert found.paused
    assert found.job_variables == {"env": {"A": "b"}}
    assert [schedule.schedule.cron for schedule in found.schedules] == ["0 6 1 1 *"]  # type: ignore[union-attr]


def test_the_version_follows_the_code_of_the_pipeline_alone() -> None:
    versions = {name: deploy.version(pipeline) for name, pipeline in deploy.PIPELINES.items()}
    assert versions["long-haul"] == versions["heartbeat"], "they are in one module"
    assert len(set(versions.values())) == len(versions) - 1
    read = deploy._modules_of("flows.crm.acquisition", set())
    assert {"flows.crm.acquisition", "flows.crm.lake", "flows.crm.world", "flows.crm.failures"} <= read
    assert not {"flows.crm.ingestion", "flows.crm.features"} & read


def test_the_working_directory_is_the_checkout_or_none(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository)
    assert deploy.parser().parse_args([]).working_directory == str(repository)
    monkeypatch.chdir(tmp_path)
    assert deploy.parser().parse_args([]).working_directory == ""


def test_without_an_address_nothing_is_published(capsys: Output) -> None:
    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        assert refusal(capsys) == (
            "Set PREFECT_API_URL to the API of a Prefect server, such as http://127.0.0.1:4200/api."
        )


def test_a_server_that_does_not_answer_is_named_without_its_password(capsys: Output) -> None:
    with temporary_settings({PREFECT_API_URL: "http://me:secret@127.0.0.1:9/api"}):
        message = refusal(capsys)
        assert "http://127.0.0.1:9/api" in message
        assert "ConnectError" in message
        assert "secret" not in message


def test_wrong_credentials_are_told_as_such(client: SyncPrefectClient, prefect_server: Prefect, capsys: Output) -> None:
    with temporary_settings({PREFECT_API_AUTH_STRING: "somebody:else"}):
        message = refusal(capsys)
        assert f"(401) at {prefect_server.api_url}" in message
        assert "PREFECT_API_AUTH_STRING" in message


def test_an_address_that_is_not_the_api_is_told_as_such(
    client: SyncPrefectClient, prefect_server: Prefect, capsys: Output
) -> None:
    elsewhere = prefect_server.api_url.removesuffix("/api")
    with temporary_settings({PREFECT_API_URL: elsewhere}):
        assert refusal(capsys) == (f"{elsewhere} is not the API of a Prefect server: PREFECT_API_URL must end in /api.")


def test_an_unknown_pipeline_is_refused_by_the_command_line() -> None:
    command = [sys.executable, "-m", "flows.deploy", "--only", "nonsense"]
    process = subprocess.run(command, capture_output=True, text=True, check=False, cwd=deploy.HOME)
    assert process.returncode == 2
    assert "invalid choice: 'nonsense'" in process.stderr


def ended(client: SyncPrefectClient, run_id: UUID) -> State[Any]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = client.read_flow_run(run_id).state
        if state and state.is_final():
            return state
        time.sleep(0.5)
    pytest.fail(f"The run {run_id} did not end in {PATIENCE} s.")


def test_a_worker_runs_what_is_published(
    client: SyncPrefectClient, prefect_server: Prefect, prefix: str, tmp_path: Path, capsys: Output
) -> None:
    publish(capsys, "--pool", prefect_server.work_pool, "--prefix", prefix, "--working-directory", "")

    def start(name: str, lake: str) -> UUID:
        deployment = client.read_deployment_by_name(f"{name}/{prefix}{name}")
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters={"snapshot_month": "2017-03"}, job_variables={"env": {"CRM_LAKE": lake}}
        )
        return run.id

    acquisition, homeless = start("crm-data-acquisition", str(tmp_path)), start("crm-data-acquisition", "")
    acquired = ended(client, acquisition)
    assert acquired.is_completed(), acquired.message
    ingested = ended(client, start("crm-data-ingestion", str(tmp_path)))
    assert ingested.is_completed(), ingested.message
    assert (tmp_path / "features/2017-03/manifest.json").is_file()

    lost = ended(client, homeless)
    assert lost.is_failed()
    assert "BadLake: The lake would be lost with this run's temporary folder: set CRM_LAKE" in str(lost.message)
