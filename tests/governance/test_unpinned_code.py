"""A policy may require that the code of a run is pinned: no branch, no path, no image tag."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment, Environment
from runs import changes, dispatch, requests, tasks
from runs.access.decisions import Target
from runs.definitions import launch_check
from runs.governance.requirements import requirements_for
from runs.models import AuditEntry, Policy, RunRequest
from runs.models.request import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db

CLONE = "prefect.deployments.steps.git_clone"
BRANCH: dict[str, Any] = {"pull_steps": ({CLONE: {"repository": "https://git.example/x", "branch": "main"}},)}
PINNED: dict[str, Any] = {"pull_steps": ({CLONE: {"repository": "https://git.example/x", "commit_sha": "a" * 40}},)}


def deploy(deployment: Deployment, fake: FakePrefect, fields: dict[str, Any]) -> None:
    fake.change_deployment(deployment.prefect_id, **fields)
    tasks.sync(deployment.environment.server_id)
    launch_check.READINGS.clear()


def pinned_only(environment: Environment) -> None:
    Policy.objects.create(name="pinned", environment=environment, refuse_moving=True)


def test_a_policy_refuses_it_at_the_request(deployment: Deployment, fake: FakePrefect, requester: User) -> None:
    pinned_only(deployment.environment)
    deploy(deployment, fake, BRANCH)
    with refused("definition.moving") as refusal:
        requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    assert refusal.value.data["moving"] == [{"kind": "branch", "name": "main"}]
    deploy(deployment, fake, PINNED)
    assert requests.submit(deployment, {"month": "2026-10"}, by=by(requester)).state == State.APPROVED


def test_and_again_at_the_launch_approved_or_not(
    deployment: Deployment,
    fake: FakePrefect,
    prod_deployment: Deployment,
    prod_fake: FakePrefect,
    requester: User,
    approver: User,
) -> None:
    queued = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    approved = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="r")
    changes.approve(approved.change, by=by(approver))
    approved.refresh_from_db()
    for run_request in (queued, approved):
        pinned_only_name = f"pinned {run_request.change.environment_name}"
        Policy.objects.create(name=pinned_only_name, environment=run_request.environment, refuse_moving=True)
        dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
        run_request.refresh_from_db()
        assert run_request.state == State.REFUSED
        entry = AuditEntry.objects.get(verb="request.launch", subject_id=str(run_request.pk))
        assert entry.after["refused"]["code"] == "definition.moving"


def test_without_a_policy_it_is_accepted(deployment: Deployment, fake: FakePrefect, requester: User) -> None:
    deploy(deployment, fake, BRANCH)
    assert requests.submit(deployment, {"month": "2026-10"}, by=by(requester)).state == State.APPROVED


def test_one_strict_policy_is_enough(deployment: Deployment) -> None:
    Policy.objects.create(name="lax")
    pinned_only(deployment.environment)
    Policy.objects.create(name="strict", tag="crm", cancel_moved=True)
    rules = requirements_for(Target.of(deployment))
    assert (rules.refuse_moving, rules.cancel_moved) == (True, True)
