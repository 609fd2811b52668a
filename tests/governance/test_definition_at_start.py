"""The definition is compared again when the run starts: the worker reads the deployment only then."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, dispatch, mirror, requests, tasks
from runs.models import Action, AuditEntry, Policy, QueuedTask, RunRequest
from tests.background import notices
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.row_search import tables_with

pytestmark = pytest.mark.django_db

SWAP: dict[str, Any] = {"entrypoint": "evil.py:flow", "job_variables": {"env": {"EXTRA": "opensesame-1234"}}}


@pytest.fixture
def launched(prod_deployment: Deployment, prod_fake: FakePrefect, requester: User, approver: User) -> RunRequest:
    run_request = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")
    changes.approve(run_request.change, by=by(approver))
    run_request.refresh_from_db()
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    run_request.refresh_from_db()
    mirror.refresh(run_request.environment, [run_request.flow_run_id])
    QueuedTask.objects.all().delete()
    return run_request


def starts(run_request: RunRequest, fake: FakePrefect, *states: str) -> None:
    """The worker takes the run, the mirror reads it, and the queued tasks are done."""
    for state in states or ("PENDING", "RUNNING"):
        fake.set_state(run_request.flow_run_id, state)
        mirror.refresh(run_request.environment, [run_request.flow_run_id])
        do_queued()
    run_request.refresh_from_db()


def do_queued() -> None:
    for task in QueuedTask.objects.filter(task="runs.tasks.check_definition"):
        tasks.check_definition(*json.loads(task.args))
    QueuedTask.objects.all().delete()


def moved() -> list[AuditEntry]:
    return list(AuditEntry.objects.filter(verb="definition.moved"))


def alarmed() -> set[str]:
    return {each.person.username for each in notices().filter(topic="definition")}


def test_code_swapped_between_launch_and_start_raises_the_alarm(
    launched: RunRequest, prod_fake: FakePrefect, admin_user: User, auditor: User, viewer: User
) -> None:
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, **SWAP)
    starts(launched, prod_fake)
    (entry,) = moved()
    assert (entry.before["entrypoint"], entry.after["entrypoint"]) == ("", "evil.py:flow")
    assert (entry.subject_kind, entry.subject_id) == ("runrequest", str(launched.pk))
    assert alarmed() == {"administrator", "auditor", "approver"}
    assert launched.moved_definition["entrypoint"] == "evil.py:flow"
    assert tables_with("opensesame") == []
    assert not Action.objects.exists()


def test_a_character_that_cannot_be_stored_prevents_nothing(launched: RunRequest, prod_fake: FakePrefect) -> None:
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, entrypoint="evil\x00.py:flow")
    starts(launched, prod_fake)
    assert len(moved()) == 1


def test_so_does_code_swapped_while_the_worker_prepares_the_run(launched: RunRequest, prod_fake: FakePrefect) -> None:
    starts(launched, prod_fake, "PENDING")
    assert moved() == []
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, **SWAP)
    starts(launched, prod_fake, "RUNNING")
    assert len(moved()) == 1


def test_so_does_code_swapped_before_a_retry(launched: RunRequest, prod_fake: FakePrefect) -> None:
    starts(launched, prod_fake, "PENDING", "RUNNING", "SCHEDULED")
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, **SWAP)
    starts(launched, prod_fake, "RUNNING")
    assert len(moved()) == 1


def test_a_policy_cancels_the_run(launched: RunRequest, prod: Environment, prod_fake: FakePrefect) -> None:
    Policy.objects.create(name="unchanged", environment=prod, cancel_moved=True)
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, **SWAP)
    starts(launched, prod_fake)
    cancellation = Action.objects.get()
    assert (cancellation.run.prefect_id, cancellation.requested_by) == (launched.flow_run_id, None)
    dispatch.carry_out(cancellation)
    assert prod_fake.flow_runs([launched.flow_run_id])[0].state.type == "CANCELLING"
    (entry,) = AuditEntry.objects.filter(verb="run.cancel")
    assert (entry.actor_kind, entry.outcome) == ("system", "done")


def test_a_deployment_deleted_after_the_start_raises_it_too(launched: RunRequest, prod_fake: FakePrefect) -> None:
    prod_fake.set_state(launched.flow_run_id, "RUNNING")
    prod_fake.remove_deployment(launched.spec.deployment_prefect_id)
    mirror.refresh(launched.environment, [launched.flow_run_id])
    do_queued()
    assert [entry.after for entry in moved()] == [{"deployment": "deleted"}]


def test_what_has_not_changed_raises_none(launched: RunRequest, prod_fake: FakePrefect) -> None:
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, description="new words")
    starts(launched, prod_fake)
    assert (moved(), alarmed(), launched.check_definition_at) == ([], set(), None)


def test_a_run_that_needed_no_approval_is_not_compared(
    deployment: Deployment, fake: FakePrefect, requester: User
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(RunRequest.objects.get(pk=run_request.pk))
    run_request.refresh_from_db()
    fake.change_deployment(deployment.prefect_id, **SWAP)
    starts(run_request, fake)
    assert moved() == []


def test_a_run_that_was_cancelled_before_it_started_is_not_compared(
    launched: RunRequest, prod_fake: FakePrefect
) -> None:
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, **SWAP)
    starts(launched, prod_fake, "CANCELLED")
    assert moved() == []


def test_while_prefect_cannot_be_read_the_comparison_waits(launched: RunRequest, prod_fake: FakePrefect) -> None:
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, **SWAP)
    prod_fake.set_state(launched.flow_run_id, "RUNNING")
    mirror.refresh(launched.environment, [launched.flow_run_id])
    prod_fake.go_down()
    do_queued()
    assert moved() == []
    prod_fake.come_back()
    RunRequest.objects.update(check_definition_at=timezone.now())
    tasks.requeue_due()
    do_queued()
    assert len(moved()) == 1


def test_a_task_that_is_delivered_twice_reports_once(launched: RunRequest, prod_fake: FakePrefect) -> None:
    prod_fake.change_deployment(launched.spec.deployment_prefect_id, **SWAP)
    starts(launched, prod_fake)
    RunRequest.objects.update(check_definition_at=timezone.now())
    tasks.check_definition(launched.pk)
    tasks.check_definition(launched.pk)
    assert len(moved()) == 1
