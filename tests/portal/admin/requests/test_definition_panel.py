"""What an approver sees of the deployment: what changed since the last approval, and what is not pinned."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment
from runs import changes, dispatch, mirror, requests, tasks
from runs.actors import Actor
from runs.definitions import launch_check
from runs.governance import grants
from runs.models import Approval, ChangeRequest, RunRequest
from runs.models.request import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes

pytestmark = pytest.mark.django_db

Login = Callable[[User], Client]
CANARY = "opensesame-1234"
CLONE = "prefect.deployments.steps.git_clone"


@pytest.fixture
def ask(prod_deployment: Deployment, requester: User) -> Callable[[], RunRequest]:
    return lambda: requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")


@pytest.fixture
def deploy(prod_deployment: Deployment, prod_fake: FakePrefect) -> Callable[..., None]:
    """Deploy again with other fields, past the portal, and let the sync and the next launch read it."""

    def again(**fields: Any) -> None:
        prod_fake.change_deployment(prod_deployment.prefect_id, **fields)
        tasks.sync(prod_deployment.environment.server_id)
        launch_check.READINGS.clear()

    return again


@pytest.fixture
def page_of(approver: User, login: Login) -> Callable[[RunRequest], str]:
    """The page of a request as the approver sees it."""
    client = login(approver)
    return lambda run_request: text(client, run_request)


def launched(run_request: RunRequest, approver: User) -> RunRequest:
    changes.approve(run_request.change, by=by(approver))
    run_request.refresh_from_db()
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    run_request.refresh_from_db()
    assert run_request.state == State.LAUNCHED
    return run_request


def text(client: Client, run_request: RunRequest) -> str:
    answer = client.get(f"/admin/runs/runrequest/{run_request.pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_the_first_approval_says_so_and_shows_all_of_it(
    ask: Callable[[], RunRequest], deploy: Callable[..., None], page_of: Callable[[RunRequest], str]
) -> None:
    deploy(entrypoint="etl.py:flow", job_variables={"env": {"API_KEY": CANARY}})
    page = page_of(ask())
    assert "definition-first" in attributes(page, "data-key")
    assert "etl.py:flow" in page
    assert "env.API_KEY" in page
    assert CANARY not in page
    assert "hmac:" not in page


def test_it_is_compared_with_the_one_last_approved_there_not_with_the_request(
    ask: Callable[[], RunRequest], deploy: Callable[..., None], page_of: Callable[[RunRequest], str], approver: User
) -> None:
    first = launched(ask(), approver)
    deploy(entrypoint="evil.py:flow", job_variables={"env": {"EXTRA": CANARY}})
    second = ask()
    page = page_of(second)
    assert attributes(page, "data-last") == ["entrypoint", "job_variables.env.EXTRA"]
    assert f'/admin/runs/runrequest/{first.pk}/change/">request {first.pk}</a>' in page
    assert attributes(page, "data-request") == []
    assert CANARY not in page
    # Once approved and launched, this one is what the next is compared with.
    launched(second, approver)
    deploy(job_variables={"env": {"EXTRA": f"{CANARY}-2"}})
    page = page_of(ask())
    assert attributes(page, "data-last") == ["job_variables.env.EXTRA"]
    assert CANARY not in page
    # Of what was launched, the page still compares with the one before it.
    assert attributes(page_of(second), "data-last") == ["entrypoint", "job_variables.env.EXTRA"]


def test_what_was_approved_past_the_portal_is_not_what_was_last_approved(
    ask: Callable[[], RunRequest], deploy: Callable[..., None], page_of: Callable[[RunRequest], str], approver: User
) -> None:
    """The portal's role may insert an approval and move the request on: the next one would seem unchanged."""
    launched(ask(), approver)
    deploy(entrypoint="evil.py:flow")
    forged = ask()
    Approval.objects.create(
        change=forged.change, approved=True, by=approver, by_name="approver", digest=forged.change.digest
    )
    ChangeRequest.objects.filter(pk=forged.change_id).update(state=ChangeRequest.State.APPROVED)
    RunRequest.objects.filter(pk=forged.pk).update(state=State.COMPLETED, launched_at=timezone.now())
    assert attributes(page_of(ask()), "data-last") == ["entrypoint"]


def test_what_was_refused_or_overridden_is_no_approval(
    ask: Callable[[], RunRequest], page_of: Callable[[RunRequest], str], prod_deployment: Deployment, approver: User
) -> None:
    grants.grant(by=Actor.system(), person=approver, verbs=["break glass"], environment=prod_deployment.environment)
    broken = ask()
    changes.break_glass(broken.change, by=by(approver), reason="The month end is late and the approver is away.")
    broken.refresh_from_db()
    dispatch.launch(RunRequest.objects.get(pk=broken.pk))
    changes.reject(ask().change, by=by(approver), reason="no")
    assert "definition-first" in attributes(page_of(ask()), "data-key")


def test_what_changed_since_the_request_is_shown_apart(
    ask: Callable[[], RunRequest], deploy: Callable[..., None], page_of: Callable[[RunRequest], str]
) -> None:
    waiting = ask()
    deploy(path="/elsewhere")
    page = page_of(waiting)
    assert attributes(page, "data-request") == ["path"]
    assert "warning-definition.changed" in attributes(page, "data-key")


def test_what_is_not_pinned_is_named(
    ask: Callable[[], RunRequest], deploy: Callable[..., None], page_of: Callable[[RunRequest], str]
) -> None:
    step = {CLONE: {"repository": f"https://me:{CANARY}@git.example/x", "branch": "main"}}
    deploy(pull_steps=(step,), job_variables={"image": f"registry.example/{CANARY}:1"})
    page = page_of(ask())
    assert attributes(page, "data-moving") == ["branch", "image"]
    assert "branch main" in page
    assert CANARY not in page


def test_a_run_that_started_with_another_definition_says_so(
    ask: Callable[[], RunRequest],
    page_of: Callable[[RunRequest], str],
    prod_deployment: Deployment,
    prod_fake: FakePrefect,
    approver: User,
) -> None:
    run_request = launched(ask(), approver)
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    prod_fake.change_deployment(prod_deployment.prefect_id, entrypoint="evil.py:flow")
    prod_fake.set_state(run_request.flow_run_id, "RUNNING")
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    tasks.check_definition(run_request.pk)
    page = page_of(run_request)
    assert "definition-moved" in attributes(page, "data-key")
    assert attributes(page, "data-approval") == ["entrypoint"]


def test_who_approves_several_at_once_sees_it_too(
    ask: Callable[[], RunRequest], deploy: Callable[..., None], approver: User, login: Login
) -> None:
    launched(ask(), approver)
    deploy(entrypoint="evil.py:flow", job_variables={"env": {"EXTRA": CANARY}})
    waiting = ask()
    chosen = {"action": "approve_selected", ACTION_CHECKBOX_NAME: [waiting.pk]}
    page = login(approver).post("/admin/runs/runrequest/", chosen).content.decode()
    assert attributes(page, "data-changed") == ["entrypoint, job variables"]
    assert CANARY not in page


def test_without_an_approval_there_is_nothing_to_compare(
    deployment: Deployment, fake: FakePrefect, requester: User, login: Login
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    assert "definition" not in attributes(text(login(requester), run_request), "data-key")
