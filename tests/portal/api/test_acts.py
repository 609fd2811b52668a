"""Acts by the API: the same decisions, approvals and entries as on the pages."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment, Environment
from portal.models import IdempotentRequest
from runs import requests
from runs.models import Action, AuditEntry, ChangeRequest, Freeze, Grant, Policy, RunRequest, Token, TokenScope
from tests.background import queued_tasks
from tests.cast import by
from tests.portal.api.programs import Answer, Program, Programs

pytestmark = pytest.mark.django_db
RUN = {"environment": "dev", "deployment": "monthly/monthly", "parameters": {"month": "2026-10"}}
IN_PROD = RUN | {"environment": "prod", "reason": "Month end"}


def submit(caller: Program, body: dict[str, Any], **headers: str) -> Answer:
    return caller.post("/changes", body, **headers)


# Submit ---------------------------------------------------------------------------------------------------------------


def test_a_run_is_requested(requester: User, deployment: Deployment, program: Programs) -> None:
    answer = submit(program(requester), RUN)
    assert answer.status == 201, answer.body
    assert answer.body["state"] == "approved"
    assert answer.body["specs"][0]["parameters"] == {"month": "2026-10", "rows": 100, "token": "••••••"}
    assert queued_tasks() == ["runs.tasks.launch"]
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.channel, entry.actor_kind, entry.token_id) == ("api", "token", Token.objects.get().key)


def test_a_secret_is_masked(requester: User, deployment: Deployment, program: Programs) -> None:
    body = RUN | {"parameters": {"month": "2026-10", "token": "hunter22"}}
    answer = submit(program(requester), body)
    assert "hunter22" not in str(answer.body)
    assert answer.body["specs"][0]["parameters"]["token"] == "••••••"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (RUN | {"parameters": {"month": 7}}, 422, "parameters.invalid"),
        (RUN | {"parameters": {"month": "2026-10", "more": 1}}, 422, "parameters.invalid"),
        (RUN | {"deployment": "none"}, 404, "deployment.unknown"),
        (RUN | {"environment": "none"}, 404, "environment.unknown"),
        (RUN | {"on_behalf_of": "none"}, 404, "user.unknown"),
        (RUN | {"scheduled_for": "2020-01-01T00:00:00+00:00"}, 422, "start.past"),
        (RUN | {"scheduled_for": "2030-01-01T00:00:00"}, 422, "request.invalid"),
        (RUN | {"retries": 11}, 422, "request.invalid"),
        (RUN | {"unknown": 1}, 422, "request.invalid"),
        ({}, 422, "request.invalid"),
        ([], 422, "request.invalid"),
        (RUN | {"parameters": {"month": "2026\x00"}}, 422, "text.nul"),
        (RUN | {"reason": "a\x00"}, 422, "text.nul"),
        ('{"reason": "\\ud800"}', 400, "request.malformed"),
        ('{"parameters": {"rows": NaN}}', 400, "request.malformed"),
        ("{", 400, "request.malformed"),
        ("\x00", 400, "request.malformed"),
    ],
)
def test_what_is_refused_says_why(
    requester: User, deployment: Deployment, program: Programs, body: Any, status: int, code: str
) -> None:
    answer = submit(program(requester), body)
    assert (answer.status, answer.code) == (status, code), answer.body
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["type"] == f"urn:portal:{code}"
    assert answer.body["detail"]
    assert not RunRequest.objects.exists()


def test_a_request_that_is_too_large_says_so(requester: User, program: Programs) -> None:
    answer = submit(program(requester), RUN | {"reason": "x" * 9 * 1024 * 1024})
    assert (answer.status, answer.code) == (413, "request.too_large")


def test_each_wrong_value_is_named(requester: User, deployment: Deployment, program: Programs) -> None:
    answer = submit(program(requester), RUN | {"parameters": {"rows": "many"}})
    assert {each["field"] for each in answer.body["errors"]} == {"month", "rows"}
    assert all(each["code"] and each["message"] for each in answer.body["errors"])


def test_without_permission_it_is_refused_and_in_the_trail(
    viewer: User, deployment: Deployment, program: Programs
) -> None:
    answer = submit(program(viewer), RUN)
    assert (answer.status, answer.code) == (403, "access.no_grant")
    assert AuditEntry.objects.get(verb="request.submit").outcome == "refused"


def test_the_scope_of_the_token_counts(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester, TokenScope(verbs=["see"]))
    assert submit(caller, RUN).code == "access.scope"


# Idempotency ----------------------------------------------------------------------------------------------------------


def test_the_same_key_is_one_request(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester)
    first, second = (submit(caller, RUN, Idempotency_Key="nightly-1") for _ in range(2))
    assert first.body == second.body
    assert second.headers["Idempotent-Replayed"] == "true"
    assert ChangeRequest.objects.count() == 1


def test_another_body_with_the_key_is_refused(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester)
    submit(caller, RUN, Idempotency_Key="nightly-1")
    answer = submit(caller, RUN | {"reason": "other"}, Idempotency_Key="nightly-1")
    assert (answer.status, answer.code) == (422, "idempotency.key_reused")


def test_while_it_is_being_answered_it_is_refused(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester)
    submit(caller, RUN, Idempotency_Key="nightly-1")
    IdempotentRequest.objects.update(status=None)
    answer = submit(caller, RUN, Idempotency_Key="nightly-1")
    assert (answer.status, answer.code, answer.headers["Retry-After"]) == (409, "idempotency.in_flight", "1")


def test_a_process_that_was_killed_before_its_answer_submitted_once(
    requester: User, deployment: Deployment, program: Programs
) -> None:
    caller = program(requester)
    first = submit(caller, RUN, Idempotency_Key="nightly-1")
    IdempotentRequest.objects.all().delete()
    second = submit(caller, RUN, Idempotency_Key="nightly-1")
    assert (first.body["id"], ChangeRequest.objects.count()) == (second.body["id"], 1)


def test_a_refusal_can_be_sent_again_with_its_key(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester)
    Policy.objects.create(name="reasons", needs_reason=True)
    assert submit(caller, RUN, Idempotency_Key="nightly-1").code == "reason.required"
    Policy.objects.all().delete()
    assert submit(caller, RUN, Idempotency_Key="nightly-1").status == 201


def test_keys_are_those_of_one_token(requester: User, deployment: Deployment, program: Programs) -> None:
    for caller in (program(requester), program(requester)):
        assert submit(caller, RUN, Idempotency_Key="nightly-1").status == 201
    assert ChangeRequest.objects.count() == 2


def test_a_stored_answer_is_encrypted(requester: User, deployment: Deployment, program: Programs) -> None:
    submit(program(requester), RUN | {"reason": "between us"}, Idempotency_Key="nightly-1")
    assert b"between us" not in bytes(IdempotentRequest.objects.get().sealed_answer)


@pytest.mark.parametrize("key", ["x" * 201])
def test_what_is_no_key(requester: User, deployment: Deployment, program: Programs, key: str) -> None:
    assert submit(program(requester), RUN, Idempotency_Key=key).code == "idempotency.key_invalid"


# Decide ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(requester: User, prod_deployment: Deployment) -> ChangeRequest:
    return requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="Month end").change


def test_it_is_approved_as_it_was_read(approver: User, waiting: ChangeRequest, program: Programs) -> None:
    caller = program(approver)
    (found,) = caller.get("/inbox").body
    assert found["id"] == waiting.pk
    answer = caller.post(f"/changes/{waiting.pk}/approve", {"digest": "0" * 64})
    assert (answer.status, answer.code) == (409, "approval.stale")
    answer = caller.post(f"/changes/{waiting.pk}/approve", {"digest": found["digest"], "reason": "fine"})
    assert (answer.status, answer.body["state"]) == (200, "approved")
    assert answer.body["approvals"][0] | {"at": ""} == {
        "by": "approver",
        "approved": True,
        "reason": "fine",
        "at": "",
        "counts": True,
    }
    again = caller.post(f"/changes/{waiting.pk}/approve", {"digest": found["digest"]})
    assert (again.status, again.code) == (409, "state.illegal")


def test_the_requester_does_not_approve(requester: User, waiting: ChangeRequest, program: Programs) -> None:
    Grant.objects.create(person=requester, verbs=["approve"], environment=waiting.environment, granted_by_name="test")
    answer = program(requester).post(f"/changes/{waiting.pk}/approve", {"digest": waiting.digest})
    assert (answer.status, answer.code) == (403, "approval.own")


def test_it_is_commented_on_rejected_and_withdrawn(
    requester: User, approver: User, waiting: ChangeRequest, prod_deployment: Deployment, program: Programs
) -> None:
    answer = program(approver).post(f"/changes/{waiting.pk}/comments", {"text": "Why now?"})
    assert (answer.status, answer.body["comments"][0]["text"]) == (201, "Why now?")
    assert program(approver).post(f"/changes/{waiting.pk}/reject", {}).code == "rejection.reason_required"
    answer = program(approver).post(f"/changes/{waiting.pk}/reject", {"reason": "not today"})
    assert answer.body["state"] == "rejected"
    other = requests.submit(prod_deployment, {"month": "2026-11"}, by=by(requester), reason="x").change
    assert program(requester).post(f"/changes/{other.pk}/withdraw", {}).body["state"] == "withdrawn"


def test_a_request_that_is_not_visible_is_not_there(stranger: User, waiting: ChangeRequest, program: Programs) -> None:
    caller = program(stranger)
    for verb, body in (("approve", {"digest": waiting.digest}), ("reject", {"reason": "x"}), ("withdraw", {})):
        assert caller.post(f"/changes/{waiting.pk}/{verb}", body).status == 404
    assert caller.get(f"/changes/{waiting.pk}").status == 404


# Runs and deployments -------------------------------------------------------------------------------------------------


def test_a_run_is_cancelled(requester: User, a_run: Any, program: Programs) -> None:
    run = a_run()
    caller, path = program(requester), f"/environments/dev/runs/{run.prefect_id}"
    answer = caller.post(f"{path}/cancel", {"reason": "wrong month"})
    assert (answer.status, answer.body["kind"]) == (202, "cancel")
    found = caller.get(f"/actions/{answer.body['id']}").body
    assert (found["state"], found["run"], found["deployment"]) == (answer.body["state"], str(run.prefect_id), None)
    again = caller.post(f"{path}/cancel", {"reason": "wrong month"})
    assert (again.status, again.code) == (409, "cancellation.pending")
    assert Action.objects.get().requested_by_name == "requester"


def test_a_viewer_cancels_nothing(viewer: User, stranger: User, a_run: Any, program: Programs) -> None:
    run = a_run()
    path = f"/environments/dev/runs/{run.prefect_id}/cancel"
    assert program(viewer).post(path, {"reason": "x"}).status == 403
    assert program(stranger).post(path, {"reason": "x"}).status == 404


def test_what_is_edited_is_what_was_read(
    dev: Environment, stranger: User, deployment: Deployment, program: Programs
) -> None:
    Grant.objects.create(person=stranger, verbs=["see", "pause"], environment=dev, granted_by_name="test")
    caller, path = program(stranger), f"/environments/dev/deployments/{deployment.prefect_id}"
    body = {"is_paused": True, "reason": "broken"}
    assert caller.send("PATCH", path, body).status == 428
    tag = caller.get(path).headers["ETag"]
    Deployment.objects.filter(pk=deployment.pk).update(definition_fingerprint="other")
    assert caller.send("PATCH", path, body, If_Match=tag).status == 412
    tag = caller.get(path).headers["ETag"]
    answer = caller.send("PATCH", path, body, If_Match=tag)
    assert (answer.status, answer.body["kind"]) == (202, "pause")


# Rules ----------------------------------------------------------------------------------------------------------------


def test_why_says_what_the_token_may(requester: User, deployment: Deployment, program: Programs) -> None:
    question = {"verb": "trigger", "environment": "dev", "deployment": "monthly/monthly"}
    assert program(requester).post("/why", question).body["allowed"]
    found = program(requester, TokenScope(verbs=["see"])).post("/why", question).body
    assert (found["allowed"], found["code"]) == (False, "access.scope")


def test_who_can(requester: User, deployment: Deployment, program: Programs) -> None:
    path = f"/environments/dev/deployments/{deployment.prefect_id}/who-can?verb=trigger"
    (found,) = program(requester).get(path).body
    assert found["verb"] == "trigger"
    assert "requester" in {each["name"] for each in found["allowed"]}


def test_a_delegate_grants_within_their_own(
    dev: Environment, stranger: User, viewer: User, deployment: Deployment, program: Programs
) -> None:
    Grant.objects.create(person=stranger, verbs=["see", "manage"], environment=dev, granted_by_name="test")
    caller = program(stranger)
    answer = caller.post("/grants", {"to": "viewer", "verbs": ["see"], "environment": "dev"})
    assert answer.status == 201, answer.body
    more = caller.post("/grants", {"to": "viewer", "verbs": ["trigger"], "environment": "dev"})
    assert (more.status, more.code) == (403, "grant.beyond_own")
    number = answer.body["grant"]["id"]
    assert caller.post(f"/grants/{number}/revoke", {}).body["grant"]["revoked_at"]
    assert caller.post(f"/grants/{number}/revoke", {}).status == 409


def test_an_environment_is_frozen_and_unfrozen(
    dev: Environment, stranger: User, deployment: Deployment, program: Programs
) -> None:
    Grant.objects.create(person=stranger, verbs=["see", "manage"], environment=dev, granted_by_name="test")
    caller = program(stranger)
    answer = caller.post("/environments/dev/freeze", {"reason": "audit"})
    assert (answer.status, answer.body["reason"]) == (201, "audit")
    assert caller.post("/environments/dev/freeze", {"reason": "again"}).status == 409
    assert caller.post("/environments/dev/unfreeze", {"reason": "over"}).body == {"change": None}
    assert Freeze.objects.get().lifted_at


def test_an_error_in_the_portal_reveals_nothing(
    requester: User, deployment: Deployment, program: Programs, monkeypatch: Any
) -> None:
    def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError(f"secret {uuid.uuid4()}")

    monkeypatch.setattr(requests, "submit", broken)
    answer = submit(program(requester), RUN)
    assert (answer.status, answer.code) == (500, "portal.failed")
    assert "secret" not in str(answer.body)
