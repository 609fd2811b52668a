"""An approval binds the definition of the deployment: what was approved is what runs, or nothing does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment, Environment, Server
from runs import changes, dispatch, requests, tasks
from runs.definitions import launch_check
from runs.models import AuditEntry, RunRequest
from runs.models.request import State
from runs.requests.frozen_values import contents_digest
from tests import cast
from tests.cast import by
from tests.fakes.prefect import FakePrefect

pytestmark = pytest.mark.django_db

SWAP: dict[str, Any] = {
    "entrypoint": "evil.py:flow",
    "path": "/elsewhere",
    "job_variables": {"env": {"EXTRA": "opensesame-1234"}},
}


@pytest.fixture
def ask(prod_deployment: Deployment, requester: User) -> Callable[[], RunRequest]:
    return lambda: requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")


@pytest.fixture
def waiting(ask: Callable[[], RunRequest]) -> RunRequest:
    return ask()


def swap(run_request: RunRequest, fake: FakePrefect, **fields: Any) -> None:
    """As somebody who may deploy does, past the portal; the version stays. Launches do not share a reading with it."""
    fake.change_deployment(run_request.spec.deployment_prefect_id, **fields)
    launch_check.READINGS.clear()


def sent(fake: FakePrefect) -> int:
    return [call.method for call in fake.calls].count("create_flow_run")


def launch(run_request: RunRequest) -> RunRequest:
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    run_request.refresh_from_db()
    return run_request


def refusal() -> dict[str, Any]:
    entry = AuditEntry.objects.get(verb="request.launch")
    assert entry.outcome == "refused"
    found: dict[str, Any] = entry.after["refused"]
    return found


@pytest.mark.parametrize("is_synced", [True, False])
@pytest.mark.parametrize("is_approved_first", [True, False])
def test_code_swapped_after_the_request_is_not_launched(
    waiting: RunRequest, prod_fake: FakePrefect, approver: User, is_synced: bool, is_approved_first: bool
) -> None:
    if is_approved_first:
        changes.approve(waiting.change, by=by(approver))
        waiting.refresh_from_db()
    swap(waiting, prod_fake, **SWAP)
    if is_synced:
        tasks.sync(waiting.environment.server_id)
    if not is_approved_first:
        changes.approve(waiting.change, by=by(approver))
        waiting.refresh_from_db()
    launch(waiting)
    assert waiting.state == State.REFUSED
    assert refusal()["code"] == "definition.changed"
    assert sent(prod_fake) == 0
    assert "opensesame" not in waiting.message + str(list(AuditEntry.objects.values()))


def test_so_is_a_template_of_the_work_pool(
    prod_deployment: Deployment, ask: Callable[[], RunRequest], prod_fake: FakePrefect, approver: User
) -> None:
    prod_fake.add_work_pool("pool", base_job_template={"job_configuration": {"command": "run"}})
    prod_fake.change_deployment(prod_deployment.prefect_id, work_pool_name="pool")
    tasks.sync(prod_deployment.environment.server_id)
    waiting = ask()
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    prod_fake.change_work_pool("pool", base_job_template={"job_configuration": {"command": "evil"}})
    assert launch(waiting).state == State.REFUSED
    assert refusal()["code"] == "definition.changed"


def test_what_was_approved_is_launched(waiting: RunRequest, prod_fake: FakePrefect, approver: User) -> None:
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    assert launch(waiting).state == State.LAUNCHED


def test_what_changes_nothing_about_the_run_refuses_nothing(
    waiting: RunRequest, prod_fake: FakePrefect, approver: User
) -> None:
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    swap(waiting, prod_fake, description="new words", tags=("new",), is_paused=True)
    assert launch(waiting).state == State.LAUNCHED


def test_without_an_approval_the_deployment_runs_as_it_is_now(
    deployment: Deployment, fake: FakePrefect, requester: User
) -> None:
    queued = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    swap(queued, fake, **SWAP)
    assert launch(queued).state == State.LAUNCHED
    assert "deployment" not in [call.method for call in fake.calls], "and it costs no reading"


def test_while_prefect_cannot_be_asked_the_launch_waits(
    waiting: RunRequest, prod_fake: FakePrefect, approver: User
) -> None:
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    prod_fake.go_down()
    launch(waiting)
    assert (waiting.state, sent(prod_fake)) == (State.APPROVED, 0)
    assert waiting.message
    prod_fake.come_back()
    RunRequest.objects.filter(pk=waiting.pk).update(next_attempt_at=None)
    assert launch(waiting).state == State.LAUNCHED


def test_a_launch_that_died_before_it_sent_anything_is_checked_again(
    waiting: RunRequest, prod_fake: FakePrefect, approver: User
) -> None:
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    assert dispatch.claim(RunRequest.objects.get(pk=waiting.pk)) == State.APPROVED
    swap(waiting, prod_fake, **SWAP)
    RunRequest.objects.filter(pk=waiting.pk).update(next_attempt_at=None)
    assert launch(waiting).state == State.REFUSED
    assert (refusal()["code"], sent(prod_fake)) == ("definition.changed", 0)


def test_launches_of_one_deployment_share_a_reading_for_a_moment(
    ask: Callable[[], RunRequest], prod_fake: FakePrefect, approver: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [1000.0]
    monkeypatch.setattr(launch_check.time, "monotonic", lambda: clock[0])

    def readings_of_a_launch() -> int:
        run_request = ask()
        changes.approve(run_request.change, by=by(approver))
        run_request.refresh_from_db()
        before = [call.method for call in prod_fake.calls].count("deployment")
        assert launch(run_request).state == State.LAUNCHED
        return [call.method for call in prod_fake.calls].count("deployment") - before

    assert [readings_of_a_launch() for _ in range(3)] == [1, 0, 0]
    clock[0] += launch_check.SHARED_FOR
    assert readings_of_a_launch() == 1


def test_a_request_is_sent_only_to_the_address_it_was_made_for(
    waiting: RunRequest, prod: Environment, prod_fake: FakePrefect, approver: User
) -> None:
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    Server.objects.filter(environments=prod).update(api_url="http://other.test/api")
    cast.FAKES["http://other.test/api"] = prod_fake
    assert launch(waiting).state == State.REFUSED
    assert refusal()["code"] == "environment.moved"
    assert sent(prod_fake) == 0


def test_a_slash_at_its_end_is_no_other_address(
    waiting: RunRequest, prod: Environment, prod_fake: FakePrefect, approver: User
) -> None:
    changes.approve(waiting.change, by=by(approver))
    waiting.refresh_from_db()
    Server.objects.filter(environments=prod).update(api_url=f"{prod.server.api_url}/")
    cast.FAKES[f"{prod.server.api_url}/"] = prod_fake
    assert launch(waiting).state == State.LAUNCHED


@pytest.mark.parametrize("name", ["definition", "definition_fingerprint", "api_url"])
def test_the_digest_is_over_what_would_run_and_where(waiting: RunRequest, name: str) -> None:
    assert requests.is_intact(waiting.change)
    setattr(waiting.spec, name, {} if name == "definition" else "other")
    assert requests.spec_digest(waiting.spec) != waiting.spec.digest
    assert contents_digest([waiting.spec], [waiting]) == waiting.change.contents
    waiting.spec.digest = requests.spec_digest(waiting.spec)
    assert contents_digest([waiting.spec], [waiting]) != waiting.change.contents
