"""Submit a request for a run."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.catalog import sync
from flows.models import Deployment, Environment
from flows.parameters import Invalid
from runs import requests
from runs.access.decisions import Forbidden
from runs.errors import Refused
from runs.models import AuditEntry, QueuedTask, RunRequest
from runs.models.request import State
from tests.background import queued_tasks
from tests.cast import SCHEMA, by, key
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


def test_a_request_freezes_what_was_asked(deployment: Deployment, requester: User) -> None:
    run_request = requests.submit(
        deployment, {"month": "2026-10"}, by=by(requester), tags=["b", "a", "a"], reason="why"
    )
    run_request.refresh_from_db()
    assert run_request.state == State.APPROVED
    assert run_request.spec.parameters == {"month": "2026-10", "rows": 100}
    assert run_request.spec.tags == ["a", "b"]
    assert run_request.spec.deployment_name == "monthly/monthly"
    assert run_request.spec.schema_fingerprint == deployment.schema_fingerprint
    assert run_request.change.requested_by_name == "requester"
    assert len(run_request.change.digest) == 64


def test_it_is_queued_for_launch_in_the_same_transaction(deployment: Deployment, requester: User) -> None:
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    assert queued_tasks() == ["runs.tasks.launch"]


def test_it_leaves_one_audit_entry(deployment: Deployment, requester: User) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester), reason="month end")
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.outcome, entry.actor_name, entry.reason) == ("done", "requester", "month end")
    assert entry.subject_id == str(run_request.pk)
    assert entry.environment == "dev"
    assert entry.after["parameters"]["month"] == "2026-10"


def test_a_secret_is_stored_encrypted_and_shown_nowhere(deployment: Deployment, requester: User) -> None:
    run_request = requests.submit(deployment, {"month": "2026-10", "token": "hunter22"}, by=by(requester))
    row = RunRequest.objects.filter(pk=run_request.pk).values().get()
    assert "hunter22" not in repr(row)
    assert "hunter22" not in repr(AuditEntry.objects.values())
    assert "hunter22" not in repr([row.args for row in QueuedTask.objects.all()])


def test_a_double_click_makes_one_request(deployment: Deployment, requester: User) -> None:
    once = key()
    first = requests.submit(deployment, {"month": "2026-10", "token": "t"}, by=by(requester), submission_key=once)
    second = requests.submit(deployment, {"month": "2026-10", "token": "t"}, by=by(requester), submission_key=once)
    assert first == second
    assert RunRequest.objects.count() == 1
    assert queued_tasks() == ["runs.tasks.launch"]
    assert AuditEntry.objects.filter(verb="request.submit").count() == 1


def test_the_same_form_with_other_values_is_refused(deployment: Deployment, requester: User) -> None:
    once = key()
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester), submission_key=once)
    with refused("submission.reused"):
        requests.submit(deployment, {"month": "2026-11"}, by=by(requester), submission_key=once)


def test_nobody_gets_another_person_s_request_by_its_key(
    deployment: Deployment, requester: User, admin_user: User
) -> None:
    once = key()
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester), submission_key=once)
    with pytest.raises(Refused):
        requests.submit(deployment, {"month": "2026-10"}, by=by(admin_user), submission_key=once)


def test_somebody_without_a_grant_is_refused_and_that_is_recorded(deployment: Deployment, viewer: User) -> None:
    with pytest.raises(Forbidden):
        requests.submit(deployment, {"month": "2026-10"}, by=by(viewer))
    entry = AuditEntry.objects.get(verb="request.submit")
    assert entry.outcome == "refused"
    assert "viewer" in entry.message
    assert entry.after["decision"]["code"] == "access.no_grant"
    assert not RunRequest.objects.exists()
    assert queued_tasks() == []


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"month": "2026-13"},
        {"month": "2026-10", "rows": 0},
        {"month": "2026-10", "surprise": 1},
        {"month": {"__prefect_kind": "jinja", "template": "x"}},
        {"month": "2026-10\x00"},
        {"month": "2026-10", "rows": "x" * 5_000_000},
    ],
)
def test_bad_parameters_never_reach_the_queue(
    deployment: Deployment, requester: User, parameters: dict[str, Any]
) -> None:
    with pytest.raises(Invalid):
        requests.submit(deployment, parameters, by=by(requester))
    assert queued_tasks() == []
    assert AuditEntry.objects.get(verb="request.submit").outcome == "refused"


def test_a_schema_that_changed_meanwhile_is_noticed(
    deployment: Deployment, requester: User, fake: FakePrefect, dev: Environment
) -> None:
    seen = deployment.schema_fingerprint
    properties = {**SCHEMA["properties"], "more": {"type": "string", "default": "", "position": 3}}
    fake.change_deployment(deployment.prefect_id, parameter_schema={**SCHEMA, "properties": properties})
    sync.sync(dev)
    with refused("form.stale"):
        requests.submit(deployment, {"month": "2026-10"}, by=by(requester), form_fingerprint=seen)


def test_a_deployment_that_is_gone_is_refused(
    deployment: Deployment, requester: User, fake: FakePrefect, dev: Environment
) -> None:
    fake.remove_deployment(deployment.prefect_id)
    sync.sync(dev)
    with refused("deployment.gone"):
        requests.submit(deployment, {"month": "2026-10"}, by=by(requester))


def test_an_environment_may_want_a_reason_and_an_approval(prod_deployment: Deployment, requester: User) -> None:
    with refused("reason.required"):
        requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason=" ")
    run_request = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")
    assert run_request.state == State.HELD
    assert run_request.change.expires_at > timezone.now()
    assert queued_tasks() == []


def test_a_start_more_than_a_year_ahead_is_refused(deployment: Deployment, requester: User) -> None:
    with refused("start.too_far"):
        requests.submit(
            deployment, {"month": "2026-10"}, by=by(requester), scheduled_for=timezone.now() + timedelta(days=400)
        )


def test_a_door_that_turns_people_away_leaves_an_entry(deployment: Deployment, viewer: User, requester: User) -> None:
    requests.require_start_allowed(deployment, by=by(requester))
    assert not AuditEntry.objects.filter(verb="request.submit").exists()
    with pytest.raises(Forbidden):
        requests.require_start_allowed(deployment, by=by(viewer))
    assert AuditEntry.objects.get(verb="request.submit").outcome == "refused"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        ({"run_name": "a\x00b"}, "text.unstorable"),
        ({"reason": "\ud800"}, "text.unstorable"),
        ({"tags": ["fine", "x" * 301]}, "text.too_long"),
        ({"tags": [str(n) for n in range(51)]}, "tags.too_many"),
        ({"reason": "x" * 1001}, "text.too_long"),
    ],
)
def test_texts_that_cannot_be_kept_are_refused(
    deployment: Deployment, requester: User, given: dict[str, Any], code: str
) -> None:
    with refused(code):
        requests.submit(deployment, {"month": "2026-10"}, by=by(requester), **given)
    assert not RunRequest.objects.exists()


def test_the_ticket_and_whom_one_acts_for_are_in_the_trail(
    deployment: Deployment, requester: User, approver: User
) -> None:
    requests.submit(deployment, {"month": "2026-10"}, by=by(requester), ticket="OPS-7", on_behalf_of=approver)
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.ticket, entry.on_behalf_of) == ("OPS-7", "approver")
