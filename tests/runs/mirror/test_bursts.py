"""Many runs that change at once: written together, each with its own request, event and details."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from flows.models import Deployment, Environment
from flows.prefect_api.records import FlowRunRecord
from runs import dispatch, mirror, requests
from runs.models import Run, RunEvent, RunRequest, StateChange
from runs.models.request import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db


@pytest.fixture
def launched(deployment: Deployment, requester: User) -> list[RunRequest]:
    """Four requests whose runs are scheduled in Prefect, and which the mirror has read."""
    run_requests = [requests.submit(deployment, {"month": f"2026-0{number}"}, by=by(requester)) for number in "1234"]
    for run_request in run_requests:
        dispatch.launch(run_request)
    mirror.sync(deployment.environment)
    return list(RunRequest.objects.order_by("pk"))


def moved(fake: FakePrefect, run_requests: list[RunRequest], states: list[str]) -> list[FlowRunRecord]:
    ids = [each.flow_run_id for each in run_requests if each.flow_run_id]
    for pk, state in zip(ids, states, strict=True):
        fake.set_state(pk, "RUNNING")
        fake.set_state(pk, state, message=f"{state} of {pk}")
    return fake.flow_runs(ids)


def test_each_request_gets_the_state_and_message_of_its_own_run(
    dev: Environment, fake: FakePrefect, launched: list[RunRequest]
) -> None:
    mirror.upsert(dev, moved(fake, launched, ["COMPLETED", "FAILED", "CANCELLED", "CRASHED"]))
    after = list(RunRequest.objects.order_by("pk"))
    assert [each.state for each in after] == [State.COMPLETED, State.FAILED, State.CANCELLED, State.FAILED]
    assert [each.message.split(" of ")[1] for each in after] == [str(each.flow_run_id) for each in launched]
    assert RunEvent.objects.filter(kind=RunEvent.Kind.RUN_MOVED).count() == 4


def test_a_run_that_was_read_before_its_request_knew_it_is_linked_to_it_alone(
    dev: Environment, fake: FakePrefect, launched: list[RunRequest]
) -> None:
    RunRequest.objects.update(run=None)
    mirror.upsert(dev, moved(fake, launched, ["COMPLETED"] * 4))
    for each in RunRequest.objects.select_related("run"):
        assert each.run is not None
        assert each.run.prefect_id == each.flow_run_id


def test_as_many_queries_for_four_as_for_one(dev: Environment, fake: FakePrefect, launched: list[RunRequest]) -> None:
    records = moved(fake, launched, ["FAILED"] * 4)
    with CaptureQueriesContext(
        connection,
    ) as one:
        mirror.upsert(dev, records[:1])
    with CaptureQueriesContext(connection) as three:
        mirror.upsert(dev, records[1:])
    assert len(three) == len(one)


def test_what_is_as_it_was_is_not_written_but_counts_as_read(
    dev: Environment, fake: FakePrefect, launched: list[RunRequest]
) -> None:
    before = dict(Run.objects.values_list("pk", "synced_at"))
    with CaptureQueriesContext(connection) as queries:
        mirror.upsert(dev, fake.flow_runs([each.flow_run_id for each in launched if each.flow_run_id]))
    assert not [each for each in queries if "INSERT" in each["sql"]]
    assert all(synced_at > before[pk] for pk, synced_at in Run.objects.values_list("pk", "synced_at"))


def test_a_new_name_without_a_new_state_is_written(
    dev: Environment, fake: FakePrefect, launched: list[RunRequest]
) -> None:
    assert launched[0].flow_run_id
    fake.change_run(launched[0].flow_run_id, name="renamed", tags=("new",), total_run_seconds=float("inf"))
    mirror.sync(dev)
    run = Run.objects.get(prefect_id=launched[0].flow_run_id)
    assert (run.name, run.tags, run.run_seconds) == ("renamed", ["new"], float("inf"))


def test_details_that_a_sweep_did_not_reach_are_read_by_the_next(
    dev: Environment, fake: FakePrefect, deployment: Deployment
) -> None:
    record = fake.add_run(deployment.prefect_id, state_type="RUNNING")
    mirror.sync_states(dev)
    assert not StateChange.objects.exists()
    mirror.sync(dev)
    assert StateChange.objects.filter(run__prefect_id=record.id, type="RUNNING").exists()
    # And are not read again while the run stays as it is.
    fake.calls.clear()
    mirror.sync(dev)
    assert not [call for call in fake.calls if call.method == "states"]
