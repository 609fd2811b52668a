"""Runs that are deleted in Prefect before they end: their requests and cancellations end too."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.models import Deployment, Environment
from runs import changes, dispatch, mirror, notifications, requests
from runs.models import AuditEntry, Run, RunRequest
from runs.models.notification import Topic
from runs.models.request import State
from tests.background import notices
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.client.in_process import Commands
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db


@pytest.fixture
def launched(deployment: Deployment, requester: User) -> RunRequest:
    """A request whose run is scheduled in Prefect and mirrored."""
    notifications.subscribe(requester, [(Topic.STALLED, None)], by=by(requester))
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    mirror.sync(deployment.environment)
    run_request.refresh_from_db()
    assert run_request.run is not None
    return run_request


def entries(*verbs: str) -> list[tuple[str, str]]:
    return list(AuditEntry.objects.filter(verb__in=verbs).order_by("sequence").values_list("verb", "outcome"))


def test_its_request_is_lost_recorded_and_told_to_the_requester(
    launched: RunRequest, fake: FakePrefect, dev: Environment
) -> None:
    assert launched.flow_run_id is not None
    fake.remove_run(launched.flow_run_id)
    for _ in range(2):
        mirror.sync(dev)
    launched.refresh_from_db()
    assert (launched.state, launched.is_over, launched.state_colour) == (State.LOST, True, "red")
    assert launched.message
    assert entries("request.lost") == [("request.lost", "done")]
    notice = notices().get(topic=Topic.STALLED)
    assert (notice.person, notice.target_kind, notice.target_id) == (
        launched.change.requested_by,
        "runrequest",
        str(launched.pk),
    )


def test_a_request_whose_run_was_never_mirrored_is_lost_too(
    deployment: Deployment, requester: User, fake: FakePrefect, dev: Environment
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id is not None
    fake.remove_run(run_request.flow_run_id)
    mirror.sync(dev)
    run_request.refresh_from_db()
    assert run_request.state == State.LOST
    # It is not read again with every sweep.
    fake.calls.clear()
    mirror.sync(dev)
    assert not [call for call in fake.calls if call.method == "flow_runs"]


def test_deleting_a_deployment_loses_what_waited_for_it(
    launched: RunRequest, fake: FakePrefect, dev: Environment
) -> None:
    fake.remove_deployment(launched.spec.deployment_prefect_id)
    mirror.sync(dev)
    launched.refresh_from_db()
    assert launched.state == State.LOST


@pytest.mark.parametrize("state_type", ["COMPLETED", "FAILED", "CANCELLED"])
def test_a_run_that_had_ended_keeps_its_state(
    launched: RunRequest, fake: FakePrefect, dev: Environment, state_type: str
) -> None:
    assert launched.flow_run_id is not None
    fake.set_state(launched.flow_run_id, state_type)
    mirror.refresh(dev, [launched.flow_run_id])
    fake.remove_run(launched.flow_run_id)
    mirror.refresh(dev, [launched.flow_run_id])
    launched.refresh_from_db()
    assert launched.state == state_type.lower()
    assert not entries("request.lost")
    run = Run.objects.get()
    assert (run.is_lost, run.state_type) == (False, state_type)


@pytest.mark.parametrize(("state_type", "state"), [("RUNNING", State.LAUNCHED), ("COMPLETED", State.COMPLETED)])
def test_a_run_that_reappears_takes_its_request_along(
    launched: RunRequest, fake: FakePrefect, dev: Environment, state_type: str, state: State
) -> None:
    assert launched.flow_run_id is not None
    fake.set_state(launched.flow_run_id, state_type)
    found = fake.flow_runs([launched.flow_run_id])
    changes.settle_deleted(dev, [launched.flow_run_id])
    mirror.upsert(dev, found)
    launched.refresh_from_db()
    assert launched.state == state
    assert [verb for verb, _ in entries("request.lost", "request.found")] == ["request.lost", "request.found"]


@pytest.mark.parametrize("sends", [False, True])
def test_its_open_cancellation_is_closed(
    launched: RunRequest, requester: User, fake: FakePrefect, dev: Environment, *, sends: bool
) -> None:
    assert launched.run is not None
    fake.set_state(launched.run.prefect_id, "RUNNING")
    mirror.refresh(dev, [launched.run.prefect_id])
    cancellation = requests.cancel(launched.run, by=by(requester))
    if sends:
        dispatch.carry_out(cancellation)
    fake.remove_run(launched.run.prefect_id)
    mirror.sync(dev)
    cancellation.refresh_from_db()
    assert cancellation.state == "failed"
    assert cancellation.settled_at is not None
    assert entries("run.cancel_failed") == [("run.cancel_failed", "done")]


def test_the_list_shows_it_as_deleted_and_not_as_active(
    launched: RunRequest, fake: FakePrefect, dev: Environment, requester: User, login: Callable[[User], Client]
) -> None:
    assert launched.run is not None
    fake.remove_run(launched.run.prefect_id)
    mirror.sync(dev)
    client = login(requester)
    assert launched.run.name not in client.get("/admin/runs/run/?state=active").content.decode()
    assert launched.run.name not in client.get("/admin/runs/run/?state=SCHEDULED").content.decode()
    listed = client.get("/admin/runs/run/?state=deleted").content.decode()
    assert launched.run.name in listed
    assert "Deleted" in attributes(listed, "title")


def test_waiting_for_it_ends_at_once_with_its_own_exit_code(
    deployment: Deployment,
    requester: User,
    fake: FakePrefect,
    dev: Environment,
    command: Commands,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def work(seconds: float) -> None:
        for run_request in RunRequest.objects.filter(state=State.APPROVED):
            dispatch.launch(run_request)
            run_request.refresh_from_db()
            assert run_request.flow_run_id is not None
            fake.remove_run(run_request.flow_run_id)
        mirror.sync(dev)

    monkeypatch.setattr(time, "sleep", work)
    ended = command(requester, "run", "monthly", "-e", "dev", "-p", "month=2026-10", "--wait")
    assert ended.code == 7
    assert "Lost" in ended.out
