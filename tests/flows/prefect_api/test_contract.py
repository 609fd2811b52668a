"""What the client promises, asked of a real Prefect server and of the fake alike."""

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from importlib import metadata
from typing import Any, Protocol, cast
from uuid import UUID, uuid4

import httpx
import pytest

from flows.prefect_api.client import PrefectClient
from flows.prefect_api.records import (
    JSON,
    Credential,
    EventRecord,
    FlowRunRecord,
    GlobalLimitRecord,
    NewFlowRun,
    NotFound,
    PrefectError,
    Rejected,
    ScheduleRecord,
    StateRecord,
    Uncertain,
    Unreachable,
)
from runs import native_schedules
from tests.fakes import records
from tests.fakes.prefect import FakePrefect

SCHEMA: dict[str, JSON] = {
    "type": "object",
    "properties": {
        "rows": {"type": "integer", "title": "rows"},
        "note": {"type": "string", "title": "note"},
        "mode": {"type": "string", "title": "mode", "default": "fast"},
    },
    "required": ["rows"],
}
DEFAULTS: dict[str, JSON] = {"mode": "fast"}
SECRET = "hunter2-and-more"
# What a PATCH of a deployment changes while its version stays.
STEP: dict[str, JSON] = {
    "prefect.deployments.steps.git_clone": {"repository": "https://git.example/x", "branch": "main"}
}
CHANGE: dict[str, Any] = {
    "entrypoint": "other.py:flow",
    "path": "/elsewhere",
    "pull_steps": [STEP],
    "job_variables": {"env": {"A": "b"}},
}
TEMPLATE: dict[str, JSON] = {
    "job_configuration": {"env": "{{ env }}"},
    "variables": {"type": "object", "properties": {"env": {"type": "object", "default": {"B": "c"}}}},
}


def nested(levels: int) -> JSON:
    value: JSON = {}
    for _ in range(levels):
        value = {"a": value}
    return value


class Bench(Protocol):
    """A Prefect with one flow, and the hands of those who are not the portal."""

    client: PrefectClient

    def deploy(self, *, flow: str = "flow", defaults: Mapping[str, JSON] = DEFAULTS) -> UUID: ...
    def set_variable(self, name: str, value: JSON) -> None: ...
    def undeploy(self, deployment_id: UUID) -> None: ...
    def change(self, deployment_id: UUID, pool: str) -> None: ...
    def make_pool(self) -> str: ...
    def make_queue(self, pool: str, name: str, **columns: Any) -> None: ...
    def automation(self, name: str, *starts: tuple[str, UUID | None]) -> UUID: ...
    def make_limit(self, name: str, limit: int) -> UUID: ...
    def plan(self, deployment_id: UUID) -> None: ...
    def put(self, flow_run_id: UUID, state: str) -> None: ...
    def delete_run(self, flow_run_id: UUID) -> None: ...
    def log(self, flow_run_id: UUID, *messages: str) -> None: ...
    def task_run(
        self, flow_run_id: UUID, name: str, after: Sequence[UUID] = (), caller: UUID | None = None
    ) -> UUID: ...
    def put_task(self, task_run_id: UUID, *states: str) -> None: ...
    def artifact(self, flow_run_id: UUID, key: str, kind: str, data: JSON) -> None: ...
    def heartbeat(self, flow_run_id: UUID) -> None: ...
    def worker(self, pool: str, name: str) -> None: ...
    def lose_next_answer(self) -> None: ...
    def out_of_reach(self) -> PrefectClient: ...


class FakeBench:
    def __init__(self) -> None:
        self.fake = FakePrefect()
        self.fake.streams_logs = True
        self.client: PrefectClient = self.fake

    def set_variable(self, name: str, value: JSON) -> None:
        self.fake.variables[name] = value

    def deploy(self, *, flow: str = "flow", defaults: Mapping[str, JSON] = DEFAULTS) -> UUID:
        return self.fake.add_deployment(
            f"contract-{uuid4()}",
            flow_name=flow,
            tags=("contract",),
            parameter_schema=SCHEMA,
            parameter_defaults=dict(defaults),
            schedules=(records.cron("0 6 * * *", is_active=False),),
        ).id

    def undeploy(self, deployment_id: UUID) -> None:
        self.fake.remove_deployment(deployment_id)

    def change(self, deployment_id: UUID, pool: str) -> None:
        self.fake.change_deployment(deployment_id, **CHANGE | {"pull_steps": (STEP,)}, work_pool_name=pool)

    def make_pool(self) -> str:
        return self.fake.add_work_pool(f"contract-{uuid4()}", base_job_template=TEMPLATE).name

    def make_queue(self, pool: str, name: str, **columns: Any) -> None:
        self.fake.add_work_queue(pool, name, **columns)

    def automation(self, name: str, *starts: tuple[str, UUID | None]) -> UUID:
        return self.fake.add_automation(name, *starts)

    def make_limit(self, name: str, limit: int) -> UUID:
        return self.fake.add_global_limit(name, limit).id

    def plan(self, deployment_id: UUID) -> None:
        self.fake.add_run(deployment_id, auto_scheduled=True)

    def put(self, flow_run_id: UUID, state: str) -> None:
        self.fake.set_state(flow_run_id, "PAUSED" if state == "SUSPENDED" else state, state.capitalize())

    def delete_run(self, flow_run_id: UUID) -> None:
        self.fake.remove_run(flow_run_id)

    def log(self, flow_run_id: UUID, *messages: str) -> None:
        at = datetime.now(UTC)
        for message in messages:
            self.fake.add_log(flow_run_id, message, timestamp=at)

    def task_run(self, flow_run_id: UUID, name: str, after: Sequence[UUID] = (), caller: UUID | None = None) -> UUID:
        return self.fake.add_task_run(flow_run_id, name=name, task_key=name, upstream=tuple(after)).id

    def put_task(self, task_run_id: UUID, *states: str) -> None:
        at = datetime.now(UTC)
        made = [
            StateRecord(uuid4(), kind, kind.title(), "", at + timedelta(seconds=n)) for n, kind in enumerate(states)
        ]
        self.fake.add_task_states(task_run_id, *made)

    def artifact(self, flow_run_id: UUID, key: str, kind: str, data: JSON) -> None:
        self.fake.add_artifact(flow_run_id, key=key, type=kind, data=data)

    def heartbeat(self, flow_run_id: UUID) -> None:
        self.fake.add_heartbeat(flow_run_id)

    def worker(self, pool: str, name: str) -> None:
        now = datetime.now(UTC)
        self.fake.add_work_pool(pool, workers=(records.worker(name, created_at=now, last_heartbeat=now),))

    def lose_next_answer(self) -> None:
        self.fake.lose_answer_of_next_create()

    def out_of_reach(self) -> PrefectClient:
        fake = FakePrefect()
        fake.go_down()
        return fake


class Forgetful(httpx.BaseTransport):
    """Carries every request to the server, and loses a response on demand."""

    def __init__(self) -> None:
        self.loses_next = False
        self._inner = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = self._inner.handle_request(request)
        if self.loses_next:
            self.loses_next = False
            response.read()
            raise httpx.ReadTimeout("lost", request=request)
        return response

    def close(self) -> None:
        self._inner.close()


class RealBench:
    def __init__(self, api_url: str, auth: str) -> None:
        self._forgetful = Forgetful()
        self.client = PrefectClient(api_url, Credential("basic", auth), transport=self._forgetful)
        user, _, password = auth.partition(":")
        # A request to Prefect that fails may cost its connection, and these are few.
        self._http = httpx.Client(
            base_url=api_url, auth=(user, password), limits=httpx.Limits(max_keepalive_connections=0), timeout=20
        )
        self._flows: dict[str, str] = {}
        self._pools: list[str] = []
        self._variables: list[str] = []
        self._automations: list[UUID] = []

    def set_variable(self, name: str, value: JSON) -> None:
        self._post("/variables/", {"name": name, "value": value})
        self._variables.append(name)

    def deploy(self, *, flow: str = "flow", defaults: Mapping[str, JSON] = DEFAULTS) -> UUID:
        if flow not in self._flows:
            self._flows[flow] = self._post("/flows/", {"name": f"contract-{flow}-{uuid4()}"})["id"]
        made = self._post(
            "/deployments/",
            {
                "name": f"contract-{uuid4()}",
                "flow_id": self._flows[flow],
                "tags": ["contract"],
                "parameter_openapi_schema": SCHEMA,
                "parameters": dict(defaults),
                "enforce_parameter_schema": True,
                "schedules": [{"schedule": {"cron": "0 6 * * *", "timezone": "UTC"}, "active": False}],
            },
        )
        return UUID(made["id"])

    def redeploy(self, deployment_id: UUID, schedule: dict[str, JSON]) -> int:
        """Deploy again from code that has one schedule; return the status of the answer."""
        return self._http.patch(f"/deployments/{deployment_id}", json={"schedules": [schedule]}).status_code

    def post_schedule(self, deployment_id: UUID, schedule: dict[str, JSON]) -> None:
        self._http.post(f"/deployments/{deployment_id}/schedules", json=[schedule]).raise_for_status()

    def raw_schedules(self, deployment_id: UUID) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._http.get(f"/deployments/{deployment_id}/schedules").json()
        return found

    def undeploy(self, deployment_id: UUID) -> None:
        self._http.delete(f"/deployments/{deployment_id}").raise_for_status()

    def change(self, deployment_id: UUID, pool: str) -> None:
        body = {**CHANGE, "work_pool_name": pool}
        self._http.patch(f"/deployments/{deployment_id}", json=body).raise_for_status()

    def make_pool(self) -> str:
        body = {"name": f"contract-{uuid4()}", "type": "process", "base_job_template": TEMPLATE}
        made: str = self._post("/work_pools/", body)["name"]
        self._pools.append(made)
        return made

    def make_queue(self, pool: str, name: str, **columns: Any) -> None:
        self._post(f"/work_pools/{pool}/queues", {"name": name, **columns})

    def automation(self, name: str, *starts: tuple[str, UUID | None]) -> UUID:
        actions: list[dict[str, JSON]] = [
            {"type": kind, "source": "selected" if pk else "inferred"} | ({"deployment_id": str(pk)} if pk else {})
            for kind, pk in starts
        ]
        trigger = {"type": "event", "posture": "Reactive", "expect": ["contract.never"], "threshold": 1, "within": 0}
        body = {"name": name, "trigger": trigger, "actions": [*actions, {"type": "do-nothing"}], "enabled": True}
        made = UUID(str(self._post("/automations/", body)["id"]))
        self._automations.append(made)
        return made

    def make_limit(self, name: str, limit: int) -> UUID:
        if name.startswith("tag:"):
            body = {"tag": name.removeprefix("tag:"), "concurrency_limit": limit}
            return UUID(str(self._post("/concurrency_limits/", body)["id"]))
        return UUID(str(self._post("/v2/concurrency_limits/", {"name": name, "limit": limit})["id"]))

    def plan(self, deployment_id: UUID) -> None:
        schedules = self._http.get(f"/deployments/{deployment_id}/schedules").json()
        path = f"/deployments/{deployment_id}/schedules/{schedules[0]['id']}"
        self._http.patch(path, json={"active": True}).raise_for_status()
        self._post(f"/deployments/{deployment_id}/schedule", {"min_runs": 1, "max_runs": 1})

    def put(self, flow_run_id: UUID, state: str) -> None:
        kind = "PAUSED" if state == "SUSPENDED" else state
        details = {"pause_reschedule": state == "SUSPENDED", "pause_timeout": "2100-01-01T00:00:00Z"}
        body = {"type": kind, "name": state.capitalize()} | ({"state_details": details} if kind == "PAUSED" else {})
        self._post(f"/flow_runs/{flow_run_id}/set_state", {"state": body, "force": True})

    def delete_run(self, flow_run_id: UUID) -> None:
        self._http.delete(f"/flow_runs/{flow_run_id}").raise_for_status()

    def log(self, flow_run_id: UUID, *messages: str) -> None:
        line = {
            "name": "prefect.flow_runs",
            "level": 20,
            "timestamp": datetime.now(UTC).isoformat(),
            "flow_run_id": str(flow_run_id),
        }
        lines = [{**line, "message": message} for message in messages]
        self._http.post("/logs/", json=lines).raise_for_status()

    def task_run(self, flow_run_id: UUID, name: str, after: Sequence[UUID] = (), caller: UUID | None = None) -> UUID:
        # As Prefect's own client sends them: by parameter, among others, and the task that called it.
        of_tasks = [{"input_type": "task_run", "id": str(each)} for each in after]
        inputs = {"rows": [*of_tasks[:1], {"input_type": "constant", "type": "int"}], "wait_for": of_tasks}
        if caller:
            inputs["__parents__"] = [{"input_type": "task_run", "id": str(caller)}]
        body = {
            "flow_run_id": str(flow_run_id),
            "name": name,
            "task_key": name,
            "dynamic_key": "0",
            "state": {"type": "COMPLETED"},
            "task_inputs": inputs,
        }
        return UUID(str(self._post("/task_runs/", body)["id"]))

    def put_task(self, task_run_id: UUID, *states: str) -> None:
        for kind in states:
            self._post(f"/task_runs/{task_run_id}/set_state", {"state": {"type": kind}, "force": True})

    def artifact(self, flow_run_id: UUID, key: str, kind: str, data: JSON) -> None:
        # As Prefect's own client sends a table: its rows as one text.
        sent = json.dumps(data) if kind == "table" else data
        self._post("/artifacts/", {"flow_run_id": str(flow_run_id), "key": key, "type": kind, "data": sent})

    def heartbeat(self, flow_run_id: UUID) -> None:
        event = {
            "id": str(uuid4()),
            "occurred": datetime.now(UTC).isoformat(),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{flow_run_id}"},
        }
        self._http.post("/events", json=[event]).raise_for_status()

    def worker(self, pool: str, name: str) -> None:
        self._http.post(f"/work_pools/{pool}/workers/heartbeat", json={"name": name}).raise_for_status()

    def lose_next_answer(self) -> None:
        self._forgetful.loses_next = True

    def out_of_reach(self) -> PrefectClient:
        return PrefectClient("http://127.0.0.1:9/api", Credential())

    def close(self) -> None:
        for flow in self._flows.values():
            self._http.delete(f"/flows/{flow}")
        for automation in self._automations:
            self._http.delete(f"/automations/{automation}")
        for pool in self._pools:
            self._http.delete(f"/work_pools/{pool}")
        for variable in self._variables:
            self._http.delete(f"/variables/name/{variable}")
        self._http.close()
        self.client.close()

    def _post(self, path: str, body: Mapping[str, Any]) -> Any:
        answer = self._http.post(path, json=body)
        answer.raise_for_status()
        return answer.json()


@pytest.fixture(scope="module")
def real_bench(prefect_server: Any) -> Iterator[RealBench]:
    made = RealBench(prefect_server.api_url, prefect_server.auth)
    yield made
    made.close()


@pytest.fixture(params=["fake", "real"])
def bench(request: pytest.FixtureRequest, real_bench: RealBench) -> Bench:
    return FakeBench() if request.param == "fake" else real_bench


@pytest.fixture
def client(bench: Bench) -> PrefectClient:
    return bench.client


@pytest.fixture
def deployment_id(bench: Bench) -> UUID:
    return bench.deploy()


Start = Callable[..., FlowRunRecord]


@pytest.fixture
def start(client: PrefectClient, deployment_id: UUID) -> Start:
    """Starts a run of `deployment_id`, with a key of its own unless the test names one."""

    def make(of: UUID = deployment_id, **options: Any) -> FlowRunRecord:
        plain: dict[str, Any] = {
            "parameters": {"rows": 1},
            "idempotency_key": str(uuid4()),
            "name": None,
            "tags": (),
            "scheduled_for": None,
        }
        return client.create_flow_run(of, **plain | options)

    return make


def read(client: PrefectClient, flow_run_id: UUID) -> FlowRunRecord:
    (found,) = client.flow_runs([flow_run_id])
    return found


def state_of(client: PrefectClient, flow_run_id: UUID) -> str:
    state = read(client, flow_run_id).state
    return state.type if state else ""


# What can be run


def test_health_says_which_version_answers(client: PrefectClient) -> None:
    assert client.health().version.startswith("3.")


def test_the_server_asked_is_of_the_version_that_is_meant(real_bench: RealBench) -> None:
    meant = os.environ.get("PORTAL_TEST_PREFECT_VERSION") or metadata.version("prefect")

    assert real_bench.client.health().version == meant


def test_a_deployment_is_read_with_all_a_form_needs(client: PrefectClient, deployment_id: UUID) -> None:
    record = client.deployment(deployment_id)

    assert "flow" in record.flow_name
    assert record.name.startswith("contract-")
    assert record.tags == ("contract",)
    assert record.parameter_schema == SCHEMA
    assert record.parameter_defaults == DEFAULTS
    assert record.enforces_schema
    assert [(each.description, each.is_active) for each in record.schedules] == [("cron 0 6 * * * (UTC)", False)]
    assert not record.is_paused
    assert record.created_at is not None
    assert record.created_at.tzinfo is UTC


def test_the_list_of_deployments_says_the_same_as_each_alone(bench: Bench, client: PrefectClient) -> None:
    ids = [bench.deploy(flow=flow) for flow in ("flow", "flow", "other flow")]

    listed = {record.id: record for record in client.deployments()}

    for each in ids:
        assert listed[each] == client.deployment(each)


def test_deployments_that_changed_are_listed_alone(bench: Bench, client: PrefectClient) -> None:
    first, second = bench.deploy(), bench.deploy()
    pool = bench.make_pool()
    before = client.deployment(second).updated_at
    assert before is not None

    bench.change(first, pool)

    changed = list(client.deployments_changed_since(before + timedelta(microseconds=1)))
    assert [record.id for record in changed] == [first]
    assert changed[0] == client.deployment(first)
    found = [record.id for record in client.deployments_changed_since(before)]
    assert found[:2] == [first, second]


def test_a_deployment_changes_while_its_version_stays(bench: Bench, client: PrefectClient, deployment_id: UUID) -> None:
    before, pool = client.deployment(deployment_id), bench.make_pool()

    bench.change(deployment_id, pool)

    record = client.deployment(deployment_id)
    assert (before.entrypoint, before.path, before.pull_steps, before.work_pool_name) == ("", "", (), "")
    assert (before.storage_document_id, before.infrastructure_document_id) == (None, None)
    assert (record.entrypoint, record.path, record.job_variables) == tuple(
        CHANGE[name] for name in ("entrypoint", "path", "job_variables")
    )
    assert record.pull_steps == (STEP,)
    assert record.work_pool_name == pool
    assert record.version == before.version


def test_a_work_pool_is_read_with_its_template_and_without_workers(bench: Bench, client: PrefectClient) -> None:
    pool = bench.make_pool()

    record = client.work_pool(pool)

    assert (record.name, record.workers) == (pool, ())
    assert record.base_job_template == TEMPLATE
    assert record.base_job_template == next(each for each in client.work_pools() if each.name == pool).base_job_template
    with pytest.raises(NotFound):
        client.work_pool("nowhere")


def test_work_pools_are_listed(client: PrefectClient) -> None:
    assert isinstance(client.work_pools(), list)


def test_a_pool_has_queues_of_which_one_was_made_with_it(bench: Bench, client: PrefectClient) -> None:
    pool = bench.make_pool()
    bench.make_queue(pool, "slow", priority=2, concurrency_limit=3)

    (record,) = [each for each in client.work_pools() if each.name == pool]

    assert [(each.name, each.priority, each.concurrency_limit, each.is_paused) for each in record.queues] == [
        ("default", 1, None, False),
        ("slow", 2, 3, False),
    ]
    assert {each.pool_id for each in record.queues} == {record.id}


def test_automations_are_read_with_what_they_start(bench: Bench, client: PrefectClient, deployment_id: UUID) -> None:
    starts: list[tuple[str, UUID | None]] = [("run-deployment", deployment_id), ("run-deployment", None)]
    both = bench.automation(f"contract-{uuid4()}", *starts, ("resume-deployment", deployment_id))
    other = bench.automation(f"contract-{uuid4()}")

    found = {record.id: record for record in client.automations()}

    assert [(each.action, each.deployment_id) for each in found[both].starts] == [
        *starts,
        ("resume-deployment", deployment_id),
    ]
    assert (found[both].is_enabled, found[other].starts) == (True, ())


def test_a_pool_and_a_queue_are_paused_and_limited_and_nothing_else_of_them_changes(
    bench: Bench, client: PrefectClient
) -> None:
    pool = bench.make_pool()
    bench.make_queue(pool, "slow", priority=2, concurrency_limit=3)
    changes: list[dict[str, JSON]] = [{"is_paused": True}, {"concurrency_limit": 0}, {"is_paused": False}]
    for change in [*changes, {"concurrency_limit": None}]:
        client.update_work_pool(pool, change)
        client.update_work_queue(pool, "slow", change)
        (record,) = [each for each in client.work_pools() if each.name == pool]
        queue = next(each for each in record.queues if each.name == "slow")
        for name, value in change.items():
            assert (getattr(record, name), getattr(queue, name)) == (value, value)
        assert (record.base_job_template, queue.priority) == (TEMPLATE, 2)
    client.update_work_queue(pool, "slow", {"priority": 5})
    (record,) = [each for each in client.work_pools() if each.name == pool]
    assert {each.name: each.priority for each in record.queues} == {"default": 1, "slow": 5}
    with pytest.raises(NotFound):
        client.update_work_pool("nowhere", {"is_paused": True})
    with pytest.raises(NotFound):
        client.update_work_queue(pool, "nowhere", {"is_paused": True})


def test_the_limit_of_a_deployment_changes_and_nothing_else_of_it(client: PrefectClient, deployment_id: UUID) -> None:
    before = client.deployment(deployment_id)
    options: dict[str, JSON] = {"collision_strategy": "CANCEL_NEW", "grace_period_seconds": 120}
    client.set_deployment_limit(deployment_id, 2, options)
    limited = client.deployment(deployment_id)
    assert (limited.concurrency_limit, limited.concurrency_options, limited.shared_limit) == (2, options, "")
    client.set_deployment_limit(deployment_id, 3, limited.concurrency_options)
    assert client.deployment(deployment_id).concurrency_limit == 3
    client.set_deployment_limit(deployment_id, None, limited.concurrency_options)
    after = client.deployment(deployment_id)
    assert after.concurrency_limit is None
    assert (after.schedules, after.parameter_defaults, after.tags, after.is_paused, after.entrypoint) == (
        *(before.schedules, before.parameter_defaults, before.tags, before.is_paused, before.entrypoint),
    )
    with pytest.raises(NotFound):
        client.set_deployment_limit(uuid4(), 1, {})


@pytest.mark.parametrize("prefix", ["", "tag:"])
def test_a_global_limit_changes_and_nothing_else_of_it(bench: Bench, client: PrefectClient, prefix: str) -> None:
    name = f"{prefix}contract-{uuid4()}"
    bench.make_limit(name, 4)

    def found() -> GlobalLimitRecord:
        (record,) = [each for each in client.global_limits() if each.name == name]
        return record

    before = found()
    assert (before.concurrency_limit, before.active_slots, before.is_active) == (4, 0, True)
    client.update_global_limit(before.id, {"concurrency_limit": 0})
    assert found() == replace(before, concurrency_limit=0)
    client.update_global_limit(before.id, {"is_active": False, "concurrency_limit": 9})
    assert found() == replace(before, concurrency_limit=9, is_active=False)
    client.update_global_limit(before.id, {"is_active": True})
    assert found() == replace(before, concurrency_limit=9)
    with pytest.raises(NotFound):
        client.update_global_limit(uuid4(), {"is_active": False})


@pytest.mark.parametrize("prefix", ["", "tag:"])
def test_a_global_limit_is_created_once_and_deleted(client: PrefectClient, prefix: str) -> None:
    name = f"{prefix}contract-{uuid4()}"
    columns: dict[str, JSON] = {"concurrency_limit": 3, "is_active": False, "slot_decay_per_second": 0.5}

    def found() -> list[GlobalLimitRecord]:
        return [each for each in client.global_limits() if each.name == name]

    client.create_global_limit(name, columns)
    (made,) = found()
    assert made == GlobalLimitRecord(made.id, name, 3, 0, False, 0.5)
    # A name is unique: a create that is sent again makes no second one.
    with pytest.raises(PrefectError):
        client.create_global_limit(name, columns)
    client.delete_global_limit(made.id)
    assert found() == []
    with pytest.raises(NotFound):
        client.delete_global_limit(made.id)


def test_the_limit_of_a_deployment_is_not_among_the_global_ones(client: PrefectClient, deployment_id: UUID) -> None:
    client.set_deployment_limit(deployment_id, 2, {})
    assert not [each for each in client.global_limits() if str(deployment_id) in each.name]


def test_what_is_not_there_is_not_found(client: PrefectClient, start: Start) -> None:
    nowhere = uuid4()

    for act in (
        lambda: client.deployment(nowhere),
        lambda: start(nowhere),
        lambda: client.cancel(nowhere),
        lambda: client.set_paused(nowhere, True),
    ):
        with pytest.raises(NotFound, match=str(nowhere)):
            act()


def test_out_of_reach_is_unreachable_with_a_code(bench: Bench) -> None:
    client = bench.out_of_reach()

    for act in (client.health, lambda: list(client.deployments()), lambda: client.cancel(uuid4())):
        with pytest.raises(Unreachable) as failure:
            act()
        assert failure.value.code


# Starting


def test_a_run_starts_scheduled_with_defaults_and_tags_added(start: Start, deployment_id: UUID) -> None:
    run = start(parameters={"rows": 3}, idempotency_key="a-" + str(deployment_id), name="march", tags=["urgent"])

    assert run.deployment_id == deployment_id
    assert run.name == "march"
    assert run.parameters == {"rows": 3, "mode": "fast"}
    assert sorted(run.tags) == ["contract", "urgent"]
    assert run.idempotency_key == "a-" + str(deployment_id)
    assert run.state is not None
    assert run.state.type == "SCHEDULED"
    assert (run.run_count, run.started_at, run.ended_at, run.auto_scheduled) == (0, None, None, False)
    assert run.expected_start_at is not None
    assert abs(run.expected_start_at - datetime.now(UTC)) < timedelta(seconds=30)


def test_what_starting_returns_is_what_is_read_afterwards(client: PrefectClient, start: Start) -> None:
    run = start()
    again = read(client, run.id)

    assert (again.id, again.name, again.parameters, again.state) == (run.id, run.name, run.parameters, run.state)


def test_a_run_without_a_name_gets_one(start: Start) -> None:
    assert start(name=None).name


def test_a_run_has_its_own_job_variables_and_queue(bench: Bench, client: PrefectClient, start: Start) -> None:
    pool, of = bench.make_pool(), bench.deploy()
    bench.change(of, pool)
    bench.make_queue(pool, "fast")
    variables: dict[str, JSON] = {"env": {"CPU": "4"}}
    run = start(of, job_variables=variables, work_queue_name="fast")
    assert (run.job_variables, run.work_queue_name) == (variables, "fast")
    again = read(client, run.id)
    assert (again.job_variables, again.work_queue_name) == (variables, "fast")
    # Without any, none: those of the deployment are read by the worker.
    assert start(of).job_variables == {}
    ids = client.create_flow_runs(of, [NewFlowRun({"rows": 1}, str(uuid4()), None, (), None, variables, "fast")])
    together = read(client, cast(UUID, ids[0]))
    assert (together.job_variables, together.work_queue_name) == (variables, "fast")


def test_a_later_start_is_kept_to_the_microsecond(start: Start) -> None:
    later = datetime(2031, 5, 1, 6, 30, 15, 123456, tzinfo=UTC)

    assert start(scheduled_for=later).expected_start_at == later


def test_the_same_key_returns_the_first_run_and_ignores_the_new_parameters(start: Start) -> None:
    key = str(uuid4())
    first = start(idempotency_key=key, parameters={"rows": 1})
    second = start(idempotency_key=key, parameters={"rows": 2})

    assert second.id == first.id
    assert second.parameters["rows"] == 1


def test_a_key_belongs_to_the_flow_and_not_to_the_deployment(bench: Bench, start: Start, deployment_id: UUID) -> None:
    key = str(uuid4())
    first = start(idempotency_key=key)

    assert start(bench.deploy(), idempotency_key=key).deployment_id == deployment_id
    assert start(bench.deploy(flow="other flow"), idempotency_key=key).id != first.id


def test_a_lost_answer_is_uncertain_and_the_same_key_finds_the_run(
    bench: Bench, client: PrefectClient, start: Start, deployment_id: UUID
) -> None:
    key = str(uuid4())
    bench.lose_next_answer()
    with pytest.raises(Uncertain):
        start(idempotency_key=key)

    found = start(idempotency_key=key)

    assert [run.id for run in client.active_flow_runs() if run.deployment_id == deployment_id] == [found.id]


@pytest.mark.parametrize(
    ("parameters", "field", "status"),
    [
        ({"rows": SECRET}, "rows", 409),
        ({"rows": 1, "note": [SECRET]}, "note", 409),
        ({"note": SECRET}, "rows", 409),
        ({"rows": 1, "note": SECRET * 40_000}, "parameters", 422),
    ],
)
def test_parameters_that_do_not_fit_are_rejected_by_name_and_never_repeated(
    start: Start, parameters: dict[str, JSON], field: str, status: int
) -> None:
    with pytest.raises(Rejected, match=field) as refusal:
        start(parameters=parameters)

    assert refusal.value.status == status
    assert "hunter2" not in str(refusal.value)


@pytest.mark.parametrize(
    "value",
    ["a\x00b", "\ud800", 2**64, -(2**63) - 1, float("nan"), float("inf"), {"a\x00": 1}, nested(300)],
    ids=["NUL", "half a character", "too large", "too small", "NaN", "infinity", "NUL in a name", "too deep"],
)
def test_values_that_prefect_cannot_handle_are_rejected_before_sending(
    client: PrefectClient, start: Start, deployment_id: UUID, value: JSON
) -> None:
    with pytest.raises(Rejected) as refusal:
        start(parameters={"rows": 1, "anything": value})
    assert refusal.value.code == "request.unsendable"

    assert not [run for run in client.active_flow_runs() if run.deployment_id == deployment_id]


def test_of_runs_created_together_one_that_does_not_fit_fails_alone(
    client: PrefectClient, start: Start, deployment_id: UUID
) -> None:
    """A result is an id or nothing, in the order of what was sent; the parameters must be read back."""
    keys = [f"{deployment_id}-{uuid4()}" for _ in range(25)]
    earlier = start(parameters={"rows": 900}, idempotency_key=keys[3])
    sent = [
        NewFlowRun({"rows": "poison" if place == 7 else place}, key, None, ("together",), None)
        for place, key in enumerate(keys)
    ]
    for _ in range(2):
        ids = client.create_flow_runs(deployment_id, sent)
        assert [place for place, each in enumerate(ids) if each is None] == [7]
        # A key that was used before is answered with its run, as if that had been created with these parameters.
        assert ids[3] == earlier.id
        found = {run.id: run for run in client.flow_runs([each for each in ids if each])}
        assert len(found) == 24
        for place, each in enumerate(ids):
            if each:
                run = found[each]
                assert run.parameters["rows"] == (900 if place == 3 else place)
                assert (run.deployment_id, run.idempotency_key) == (deployment_id, keys[place])
                assert place == 3 or {"together", "contract"} <= set(run.tags)


def test_runs_of_a_deployment_that_is_gone_are_not_created_together(client: PrefectClient) -> None:
    with pytest.raises(NotFound):
        client.create_flow_runs(uuid4(), [NewFlowRun({"rows": 1}, str(uuid4()), None, (), None)])


@pytest.mark.parametrize("value", [2**64 - 1, -(2**63), "\\u0000", "ünï😀", {"deep": [[[[{}]]]]}, None])
def test_unusual_values_and_unknown_names_arrive_whole(client: PrefectClient, start: Start, value: JSON) -> None:
    run = start(parameters={"rows": 1, "anything": value})

    assert read(client, run.id).parameters["anything"] == value


def test_a_default_that_is_not_sent_is_filled_in(bench: Bench, start: Start) -> None:
    name = f"contract_{uuid4().hex}"
    bench.set_variable(name, "2026-11")
    variable: JSON = {"__prefect_kind": "workspace_variable", "variable_name": name}
    deployment_id = bench.deploy(defaults={"anything": variable, "more": {"deep": [variable]}, "mode": "fast"})

    run = start(deployment_id, parameters={"rows": 1})

    assert run.parameters == {"rows": 1, "anything": "2026-11", "more": {"deep": ["2026-11"]}, "mode": "fast"}


def test_an_empty_text_is_a_value(start: Start) -> None:
    assert start(parameters={"rows": 1, "note": ""}).parameters["note"] == ""


def test_an_optional_parameter_may_be_null(start: Start) -> None:
    assert start(parameters={"rows": 1, "note": None}).parameters["note"] is None


# Pausing


def test_a_paused_deployment_says_so_and_still_takes_runs(
    client: PrefectClient, start: Start, deployment_id: UUID
) -> None:
    client.set_paused(deployment_id, True)
    assert client.deployment(deployment_id).is_paused
    assert start().deployment_id == deployment_id

    client.set_paused(deployment_id, False)
    assert not client.deployment(deployment_id).is_paused


def test_pausing_deletes_what_a_schedule_has_planned_and_nothing_else(
    bench: Bench, client: PrefectClient, start: Start, deployment_id: UUID
) -> None:
    waiting = start()
    bench.plan(deployment_id)
    planned = [run for run in client.active_flow_runs() if run.deployment_id == deployment_id and run.auto_scheduled]
    assert planned

    client.set_paused(deployment_id, True)

    left = [run.id for run in client.active_flow_runs() if run.deployment_id == deployment_id]
    assert left == [waiting.id]


def test_deleting_a_deployment_deletes_its_waiting_runs_and_keeps_the_others(
    bench: Bench, client: PrefectClient, start: Start, deployment_id: UUID
) -> None:
    waiting, running = start(), start()
    bench.put(running.id, "RUNNING")

    bench.undeploy(deployment_id)

    left = client.flow_runs([waiting.id, running.id])
    assert [(run.id, run.deployment_id) for run in left] == [(running.id, deployment_id)]


# Schedules


RULES: dict[str, dict[str, JSON]] = {
    "cron": {"cron": "0 6 * * 1-5", "timezone": "Europe/Vienna"},
    "interval": {"interval": 900.0, "anchor_date": "2026-01-01T00:00:00+01:00", "timezone": "Europe/Vienna"},
    "rrule": {"rrule": "DTSTART:20260105T013000\nFREQ=WEEKLY;BYDAY=MO", "timezone": "UTC"},
}


WITHOUT_SLUG: dict[str, JSON] = {"schedule": RULES["cron"], "active": True}


def new_schedule(rule: dict[str, JSON], slug: str = "portal-1") -> ScheduleRecord:
    return ScheduleRecord(uuid4(), "", True, slug, rule, {"rows": 2, "mode": "slow"})


@pytest.mark.parametrize("kind", RULES)
def test_a_schedule_is_saved_changed_and_deleted_beside_another(
    client: PrefectClient, deployment_id: UUID, kind: str
) -> None:
    [other] = client.deployment(deployment_id).schedules
    client.save_schedule(deployment_id, new_schedule(RULES[kind]), is_new=True)
    [made] = [each for each in client.deployment(deployment_id).schedules if each.slug == "portal-1"]
    assert native_schedules.spelled(made.rule) == native_schedules.spelled(RULES[kind])
    assert (made.is_active, made.parameters) == (True, {"rows": 2, "mode": "slow"})
    # A slug is unique: a create that is sent again makes no second one.
    with pytest.raises(PrefectError):
        client.save_schedule(deployment_id, new_schedule(RULES[kind]), is_new=True)
    client.save_schedule(deployment_id, replace(made, is_active=False), is_new=False)
    found = {each.id: each for each in client.deployment(deployment_id).schedules}
    assert found == {other.id: other, made.id: replace(made, is_active=False)}
    client.delete_schedule(deployment_id, made.id)
    assert client.deployment(deployment_id).schedules == (other,)
    with pytest.raises(NotFound):
        client.delete_schedule(deployment_id, made.id)
    with pytest.raises(NotFound):
        client.save_schedule(deployment_id, made, is_new=False)


def test_one_schedule_is_paused_and_resumed_and_nothing_else_of_it_changes(
    client: PrefectClient, deployment_id: UUID
) -> None:
    """Also of one without a slug, which must not get one: Prefect would refuse the next deployment from its code."""
    client.save_schedule(deployment_id, new_schedule(RULES["interval"], "nightly"), is_new=True)
    before = client.deployment(deployment_id).schedules
    assert sorted(each.slug for each in before) == ["", "nightly"]
    for each in before:
        for is_active in (True, False, False):
            client.switch_schedule(deployment_id, each, is_active=is_active)
            found = {one.id: one for one in client.deployment(deployment_id).schedules}
            assert found[each.id] == replace(each, is_active=is_active)
    assert {one.id: replace(one, is_active=False) for one in before} == found
    with pytest.raises(NotFound):
        client.switch_schedule(deployment_id, new_schedule(RULES["cron"]), is_active=False)


def test_a_paused_schedule_survives_the_next_deployment_by_its_slug(real_bench: RealBench) -> None:
    """What the page of a deployment says about it, and what Prefect's client does not read."""
    client, deployment_id = real_bench.client, real_bench.deploy()
    client.delete_schedule(deployment_id, client.deployment(deployment_id).schedules[0].id)
    from_code: dict[str, JSON] = {"schedule": RULES["cron"], "slug": "nightly", "parameters": {"rows": 2}}
    real_bench.post_schedule(deployment_id, {**from_code, "active": True, "max_scheduled_runs": 3})

    def stored() -> dict[str, Any]:
        (found,) = real_bench.raw_schedules(deployment_id)
        return {name: value for name, value in found.items() if name != "updated"}

    before = stored()
    (record,) = client.deployment(deployment_id).schedules
    client.switch_schedule(deployment_id, record, is_active=False)
    assert stored() == {**before, "active": False}
    # Code that does not say whether it is active, and code that does.
    assert real_bench.redeploy(deployment_id, from_code) == 204
    assert stored() == {**before, "active": False}
    assert real_bench.redeploy(deployment_id, {**from_code, "active": True}) == 204
    assert stored() == before


def test_code_without_a_slug_replaces_all_schedules_or_is_refused(real_bench: RealBench) -> None:
    """Why the portal keeps no schedule beside one without a slug, and what a page says about code that has none."""
    client, deployment_id = real_bench.client, real_bench.deploy()
    client.save_schedule(deployment_id, new_schedule(RULES["cron"]), is_new=True)
    assert real_bench.redeploy(deployment_id, WITHOUT_SLUG) == 204
    [left] = client.deployment(deployment_id).schedules
    assert left.slug == ""
    client.delete_schedule(deployment_id, left.id)
    client.save_schedule(deployment_id, new_schedule(RULES["cron"]), is_new=True)
    assert real_bench.redeploy(deployment_id, WITHOUT_SLUG) == 422
    assert [each.slug for each in client.deployment(deployment_id).schedules] == ["portal-1"]


def test_a_planned_run_names_its_schedule_in_its_key(real_bench: RealBench) -> None:
    client, deployment_id = real_bench.client, real_bench.deploy()
    real_bench.plan(deployment_id)
    [schedule] = client.deployment(deployment_id).schedules
    [run] = [each for each in client.active_flow_runs() if each.deployment_id == deployment_id]
    assert (run.idempotency_key or "").startswith(f"scheduled {deployment_id} {schedule.id} ")


# Cancelling


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("SCHEDULED", "CANCELLED"),
        ("PENDING", "CANCELLING"),
        ("RUNNING", "CANCELLING"),
        ("SUSPENDED", "CANCELLED"),
        ("PAUSED", "CANCELLING"),
        ("CANCELLING", "CANCELLING"),
        ("COMPLETED", "COMPLETED"),
        ("FAILED", "FAILED"),
        ("CRASHED", "CRASHED"),
        ("CANCELLED", "CANCELLED"),
    ],
)
def test_what_becomes_of_a_run_that_is_cancelled(
    bench: Bench, client: PrefectClient, start: Start, before: str, after: str
) -> None:
    run = start()
    way = {"SCHEDULED": (), "PENDING": ("PENDING",), "RUNNING": ("RUNNING",)}.get(before, ("RUNNING", before))
    for step in way:
        bench.put(run.id, step)

    client.cancel(run.id)

    assert state_of(client, run.id) == after


def test_a_running_run_stays_cancelling_until_somebody_has_stopped_it(
    bench: Bench, client: PrefectClient, start: Start
) -> None:
    run = start()
    bench.put(run.id, "RUNNING")
    client.cancel(run.id)
    assert read(client, run.id).ended_at is None

    bench.put(run.id, "CANCELLED")

    assert state_of(client, run.id) == "CANCELLED"
    assert [state.type for state in client.states(run.id)] == ["SCHEDULED", "RUNNING", "CANCELLING", "CANCELLED"]


def test_cancelling_what_has_ended_adds_no_state(bench: Bench, client: PrefectClient, start: Start) -> None:
    run = start()
    bench.put(run.id, "COMPLETED")
    before = client.states(run.id)

    client.cancel(run.id)

    assert client.states(run.id) == before


def test_a_claimed_run_that_is_rescheduled_waits_for_a_worker_again(
    bench: Bench, client: PrefectClient, start: Start
) -> None:
    run = start()
    bench.put(run.id, "PENDING")

    client.reschedule(run.id, datetime.now(UTC), "Put back.")

    states = client.states(run.id)
    assert [state.type for state in states] == ["SCHEDULED", "PENDING", "SCHEDULED"]
    assert states[-1].message == "Put back."
    assert read(client, run.id).started_at is None


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "CANCELLING"])
def test_a_run_is_marked_as_failed_whatever_it_is_doing(
    bench: Bench, client: PrefectClient, start: Start, state: str
) -> None:
    run = start()
    bench.put(run.id, state)

    client.set_failed(run.id, "Its machine is gone.")

    last = client.states(run.id)[-1]
    assert (last.type, last.message) == ("FAILED", "Its machine is gone.")
    assert read(client, run.id).ended_at is not None


@pytest.mark.parametrize("state", ["FAILED", "CRASHED"])
def test_a_failed_run_is_retried_under_its_id_with_its_parameters(
    bench: Bench, client: PrefectClient, start: Start, state: str
) -> None:
    run = start()
    bench.put(run.id, "PENDING")
    bench.put(run.id, "RUNNING")
    bench.put(run.id, state)
    failed = read(client, run.id)
    at = datetime.now(UTC)

    client.retry(run.id, at, "Retried.")

    again = read(client, run.id)
    assert again.state is not None
    assert (again.state.type, again.state.name, again.state.message) == ("SCHEDULED", "AwaitingRetry", "Retried.")
    assert (again.planned_for, again.ended_at, again.parameters) == (at, None, failed.parameters)
    assert (failed.run_count, again.run_count) == (1, 1)
    bench.put(run.id, "PENDING")
    bench.put(run.id, "RUNNING")
    assert read(client, run.id).run_count == 2


# Reading what happened


def test_the_last_heartbeat_of_each_run_is_read(bench: Bench, client: PrefectClient, start: Start) -> None:
    runs = [start(), start()]
    before = datetime.now(UTC) - timedelta(seconds=5)
    bench.heartbeat(runs[0].id)
    first = await_heartbeat(client, runs[0].id, before)
    bench.heartbeat(runs[0].id)

    assert await_heartbeat(client, runs[0].id, first + timedelta(microseconds=1)) > first
    assert set(client.heartbeats([run.id for run in runs], since=before)) == {runs[0].id}
    assert client.heartbeats([runs[0].id], since=datetime.now(UTC) + timedelta(minutes=1)) == {}


def await_heartbeat(client: PrefectClient, flow_run_id: UUID, since: datetime) -> datetime:
    """Return the last heartbeat since a time; a server stores events in batches, up to a few seconds later."""
    deadline = time.monotonic() + 30
    while not (found := client.heartbeats([flow_run_id], since=since)):
        assert time.monotonic() < deadline, "The heartbeat was not stored."
        time.sleep(0.2)
    return found[flow_run_id]


def test_a_worker_says_since_when_it_is_known(bench: Bench, client: PrefectClient) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    pool = bench.make_pool()
    bench.worker(pool, "one")

    (worker,) = next(each for each in client.work_pools() if each.name == pool).workers

    assert (worker.name, worker.is_online) == ("one", True)
    assert worker.created_at is not None
    assert worker.last_heartbeat is not None
    assert before <= worker.created_at <= worker.last_heartbeat + timedelta(seconds=1)


def test_a_run_that_ran_has_its_times(bench: Bench, client: PrefectClient, start: Start) -> None:
    run = start()
    bench.put(run.id, "RUNNING")
    assert read(client, run.id).started_at is not None
    assert read(client, run.id).run_count == 1

    bench.put(run.id, "COMPLETED")

    ended = read(client, run.id)
    assert ended.started_at is not None
    assert ended.ended_at is not None
    assert ended.started_at <= ended.ended_at
    assert ended.total_run_seconds > 0


def test_flow_runs_are_read_by_any_number_of_ids_and_unknown_ones_are_absent(
    client: PrefectClient, start: Start
) -> None:
    runs = [start(), start()]
    unknown = [uuid4() for _ in range(450)]

    found = client.flow_runs([runs[0].id, *unknown, runs[1].id, runs[0].id])

    assert sorted(run.id for run in found) == sorted(run.id for run in runs)
    assert client.flow_runs([]) == []


def test_a_deleted_run_is_gone_and_leaves_no_states(bench: Bench, client: PrefectClient, start: Start) -> None:
    run = start()
    bench.delete_run(run.id)

    assert client.flow_runs([run.id]) == []
    assert client.states(run.id) == []


def test_a_run_is_active_until_it_ends_and_ended_from_then_on(
    bench: Bench, client: PrefectClient, start: Start
) -> None:
    run, other = start(), start()
    before = datetime.now(UTC) - timedelta(seconds=5)
    assert run.id in {each.id for each in client.active_flow_runs()}
    assert run.id not in {each.id for each in client.flow_runs_ended_since(before)}

    bench.put(run.id, "RUNNING")
    bench.put(run.id, "FAILED")

    assert run.id not in {each.id for each in client.active_flow_runs()}
    ended = list(client.flow_runs_ended_since(before))
    assert run.id in {each.id for each in ended}
    assert other.id not in {each.id for each in ended}
    assert ended == sorted(ended, key=lambda each: each.ended_at or before, reverse=True)
    moment = read(client, run.id).ended_at
    assert moment is not None
    assert run.id in {each.id for each in client.flow_runs_ended_since(moment)}
    assert run.id not in {each.id for each in client.flow_runs_ended_since(moment + timedelta(microseconds=1))}


def test_active_runs_come_the_longest_waiting_first(client: PrefectClient, start: Start) -> None:
    year = [datetime(2030, month, 1, tzinfo=UTC) for month in (3, 1, 2)]
    made = {start(scheduled_for=moment).id: moment for moment in year}

    listed = [made[run.id] for run in client.active_flow_runs() if run.id in made]

    assert listed == sorted(year)


def test_a_run_that_is_postponed_keeps_its_first_time_and_says_why(client: PrefectClient, start: Start) -> None:
    first = datetime(2031, 5, 1, 6, 30, tzinfo=UTC)
    later = first + timedelta(hours=2)
    run = start(scheduled_for=first)

    client.reschedule(run.id, later, "The night is over at 8.")

    again = read(client, run.id)
    assert (again.expected_start_at, again.planned_for) == (first, later)
    assert again.state is not None
    assert run.state is not None
    assert (again.state.type, again.state.message) == ("SCHEDULED", "The night is over at 8.")
    assert again.state.id != run.state.id


def test_the_runs_of_tasks_and_the_names_of_flows_are_found_by_id(
    bench: Bench, client: PrefectClient, start: Start
) -> None:
    run, other = start(), start()
    bench.task_run(run.id, "inner-0")
    bench.task_run(other.id, "inner-0")
    tasks = client.task_runs([run.id, other.id])
    assert client.flow_runs_of_tasks([each.id for each in tasks]) == {each.id: each.flow_run_id for each in tasks}
    assert client.flow_runs_of_tasks([uuid4()]) == {}
    names = client.flow_names([run.flow_id, uuid4()])
    assert list(names) == [run.flow_id]
    assert "flow" in names[run.flow_id]


def test_logs_come_oldest_first_from_an_instant_on(bench: Bench, client: PrefectClient, start: Start) -> None:
    run, other = start(), start()
    for word in ("one", "two", "three"):
        bench.log(run.id, word)
    bench.log(other.id, "elsewhere")

    lines = list(client.logs(run.id))
    assert [(line.message, line.level, line.flow_run_id) for line in lines] == [
        (word, 20, run.id) for word in ("one", "two", "three")
    ]
    again = client.logs(run.id, after=lines[1].timestamp)
    assert [line.id for line in again] == [line.id for line in lines[1:]]


def test_no_line_is_lost_where_many_have_one_time(bench: Bench, client: PrefectClient, start: Start) -> None:
    run, other = start(), start()
    messages = [f"line {number}" for number in range(1250)]
    bench.log(other.id, *messages)
    bench.log(run.id, "before")
    bench.log(run.id, *messages)
    bench.log(run.id, "after")
    found = [line.message for line in client.logs(run.id)]
    assert (found[0], found[-1]) == ("before", "after")
    assert sorted(found[1:-1]) == sorted(messages)


def test_artifacts_belong_to_their_flow_run_and_keep_their_kind(
    bench: Bench, client: PrefectClient, start: Start
) -> None:
    run, other = start(), start()
    bench.artifact(run.id, "card", "markdown", "# A card")
    bench.artifact(run.id, "facts", "table", [{"field": "months", "value": ["2017-01"]}])
    bench.artifact(run.id, "bar", "progress", 42.5)
    bench.artifact(other.id, "card", "markdown", "Another")
    found = {each.key: each for each in client.artifacts([run.id])}
    assert {key: (each.type, each.data) for key, each in found.items()} == {
        "card": ("markdown", "# A card"),
        "facts": ("table", [{"field": "months", "value": ["2017-01"]}]),
        "bar": ("progress", 42.5),
    }
    assert {each.flow_run_id for each in found.values()} == {run.id}
    assert all(each.created_at and each.updated_at for each in found.values())
    assert len(client.artifacts([run.id, other.id])) == 4


def test_task_runs_belong_to_their_flow_run(bench: Bench, client: PrefectClient, start: Start) -> None:
    run, other = start(), start()
    bench.task_run(run.id, "load")
    bench.task_run(other.id, "store")

    (found,) = client.task_runs([run.id])

    assert (found.flow_run_id, found.name, found.task_key) == (run.id, "load", "load")
    assert (found.state_type, found.state_name, found.cached) == ("COMPLETED", "Completed", False)
    assert {each.name for each in client.task_runs([run.id, other.id])} == {"load", "store"}


def test_a_task_run_names_those_it_depends_on(bench: Bench, client: PrefectClient, start: Start) -> None:
    run = start()
    caller, first, second = (bench.task_run(run.id, name) for name in ("all", "first", "second"))
    last = bench.task_run(run.id, "last", after=[first, second], caller=caller)

    found = {each.id: each.upstream for each in client.task_runs([run.id])}

    assert found == {caller: (), first: (), second: (), last: (first, second)}


def test_the_states_of_a_task_run_come_oldest_first(bench: Bench, client: PrefectClient, start: Start) -> None:
    task = bench.task_run(start().id, "load")
    bench.put_task(task, "RUNNING", "SCHEDULED", "RUNNING", "FAILED")

    found = client.task_run_states(task)

    assert [each.type for each in found][-4:] == ["RUNNING", "SCHEDULED", "RUNNING", "FAILED"]
    assert [each.timestamp for each in found] == sorted(each.timestamp for each in found)
    assert client.task_run_states(uuid4()) == []


# Events


def test_a_change_of_state_is_an_event_of_that_run(bench: Bench, client: PrefectClient, start: Start) -> None:
    async def hear_of(flow_run_id: UUID, kind: str) -> EventRecord:
        # An async generator that is left early is closed by whoever left it.
        async with aclosing(cast(Any, client.events())) as stream:
            async for event in stream:
                if event == EventRecord(flow_run_id, kind):
                    return cast(EventRecord, event)
        raise AssertionError("The stream ended without an error.")

    async def run_and_listen() -> EventRecord:
        run = await asyncio.to_thread(start)
        listening = asyncio.create_task(hear_of(run.id, "prefect.flow-run.Running"))
        # What happens while the server takes the subscription may be missed, so it happens again until it is heard.
        for state in ("RUNNING", "PENDING") * 10:
            await asyncio.to_thread(bench.put, run.id, state)
            if (await asyncio.wait([listening], timeout=5))[0]:
                return listening.result()
        listening.cancel()
        raise AssertionError("Nothing was heard of it.")

    assert asyncio.run(run_and_listen()).kind == "prefect.flow-run.Running"


def test_a_new_line_is_announced_and_found_among_the_newest(bench: Bench, client: PrefectClient, start: Start) -> None:
    async def hear_of(flow_run_id: UUID) -> bool:
        async with aclosing(cast(Any, client.log_hints())) as stream:
            async for heard in stream:
                if heard == flow_run_id:
                    return True
        raise AssertionError("The stream ended without an error.")

    async def log_and_listen() -> UUID:
        run = await asyncio.to_thread(start)
        listening = asyncio.create_task(hear_of(run.id))
        for number in range(20):
            await asyncio.to_thread(bench.log, run.id, f"line {number}")
            if (await asyncio.wait([listening], timeout=5))[0]:
                return run.id
        listening.cancel()
        raise AssertionError("Nothing was heard of it.")

    before = datetime.now(UTC) - timedelta(minutes=1)
    pk, other = asyncio.run(log_and_listen()), start().id
    lines = client.newest_lines([pk, other], since=before)
    assert {line.flow_run_id for line in lines} == {pk}
    assert [line.timestamp for line in lines] == sorted((line.timestamp for line in lines), reverse=True)
    assert client.newest_lines([pk], since=datetime.now(UTC) + timedelta(minutes=5)) == []


def test_a_stream_out_of_reach_is_an_error_and_not_silence(bench: Bench) -> None:
    async def listen() -> None:
        async for _ in bench.out_of_reach().events():
            pass

    with pytest.raises(PrefectError):
        asyncio.run(listen())
