"""POST /job-tokens: a CI job without a stored secret is given a token, and uses the API with it."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from portal.auth import throttle
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, JobTrust, JobTrustScope, ServiceAccount, Token
from tests.fakes.issuer import Issuer
from tests.portal.api.programs import Answer, Program
from tests.portal.made_tokens import robot_of
from tests.portal.trusted_jobs import ON_GITLAB, trust

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot(requester: User, deployment: Deployment) -> ServiceAccount:
    found = robot_of(requester)
    grants.grant(by=Actor.system(), person=found.user, verbs=["see", "trigger"], environment=deployment.environment)
    return found


@pytest.fixture
def trusted(robot: ServiceAccount, issuer: Issuer, deployment: Deployment) -> JobTrust:
    return trust(robot, issuer.url, JobTrustScope(verbs=["see", "trigger"], environment=deployment.environment))


def show(text: str, **others: Any) -> Answer:
    return Program("").post("/job-tokens", {"job_token": text, **others})


def test_a_job_requests_a_run(trusted: JobTrust, issuer: Issuer) -> None:
    answer = show(issuer.github())
    assert answer.status == 200
    assert (answer.body["account"], answer.body["on_behalf_of"]) == ("ci-robot", "requester")
    program = Program(answer.body["token"])
    assert program.get("/me").body["token"] == answer.body["key"]
    wanted = {"environment": "dev", "deployment": "monthly/monthly", "parameters": {"month": "2026-10"}}
    change = program.post("/changes", wanted, Idempotency_Key="one")
    assert change.status == 201
    entry = AuditEntry.objects.get(verb="request.submit")
    assert (entry.actor_name, entry.on_behalf_of, entry.token_id) == ("ci-robot", "requester", answer.body["key"])


def test_so_does_one_of_gitlab(robot: ServiceAccount, issuer: Issuer) -> None:
    trust(robot, issuer.url, claims=ON_GITLAB)
    assert show(issuer.gitlab(), account="ci-robot").status == 200


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"aud": "https://elsewhere.example.com"}, 401, "job_token.audience"),
        ({"iss": "https://elsewhere.example.com"}, 401, "job_token.issuer"),
        ({"ref": "refs/heads/other"}, 403, "job_token.claims"),
    ],
)
def test_what_is_refused(trusted: JobTrust, issuer: Issuer, changes: dict[str, Any], status: int, code: str) -> None:
    text = issuer.github(**changes)
    answer = show(text)
    assert (answer.status, answer.code) == (status, code)
    assert text not in str(answer.body)
    assert not Token.objects.exists()
    stored = repr(list(AuditEntry.objects.values()))
    assert text not in stored
    assert text.split(".")[2] not in stored


def test_an_issuer_that_is_down_is_not_held_against_the_job(trusted: JobTrust, issuer: Issuer) -> None:
    issuer.answers["/keys"] = 500, {}, b""
    for _ in range(throttle.ADDRESS.allowed + 1):
        answer = show(issuer.github())
        assert (answer.status, answer.code) == (503, "job_token.unavailable")
        assert answer.headers["Retry-After"] == "60"


def test_guesses_are_throttled_by_address(trusted: JobTrust, issuer: Issuer) -> None:
    codes = [show("x").code for _ in range(throttle.ADDRESS.allowed + 1)]
    assert codes == ["job_token.malformed"] * throttle.ADDRESS.allowed + ["token.throttled"]
    # A job that is trusted is not kept waiting by them.
    assert show(issuer.github()).status == 200


def test_a_session_or_token_of_a_person_changes_nothing(trusted: JobTrust, issuer: Issuer) -> None:
    assert Program("x").post("/job-tokens", {"job_token": issuer.github()}).status == 200
    assert Program("").post("/job-tokens", {"job_token": issuer.github(), "user": "root"}).status == 422
