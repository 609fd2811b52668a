"""Who may call the API, how often, and what anyone else is told."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from flows.models import Deployment, Environment
from portal.api import authentication
from portal.api.api import api
from portal.auth import throttle
from runs.models import AuditEntry, Token, TokenScope
from tests.portal.api.programs import PLACE, Program, Programs

pytestmark = pytest.mark.django_db


def test_without_a_token_nothing_is_answered() -> None:
    for text in ("", "x", "portal_000000000000." + "0" * 46):
        answer = Program(text).get("/environments")
        assert (answer.status, answer.code) == (401, "token.invalid")
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("scheme", ["Basic", "Token", ""])
def test_only_a_bearer_is_read(requester: User, program: Programs, scheme: str) -> None:
    text = program(requester).text
    assert Program("").get("/me", Authorization=f"{scheme} {text}".strip()).status == 401


def test_a_session_is_no_token(requester: User, deployment: Deployment) -> None:
    client = Client()
    client.force_login(requester)
    assert client.get("/api/v1/environments").status_code == 401


def test_every_route_but_two_needs_a_token() -> None:
    open_routes = set()
    for path, operations in api.get_openapi_schema()["paths"].items():
        for method, operation in operations.items():
            if "security" not in operation:
                open_routes.add((method, path))
    assert open_routes == {("post", "/api/v1/tokens/revoke"), ("post", "/api/v1/job-tokens")}


def test_a_token_says_who_it_is(requester: User, dev: Environment, program: Programs) -> None:
    found = program(requester, TokenScope(verbs=["see"], environment=dev, flow_name="monthly")).get("/me").body
    assert (found["user"], found["token"]) == ("requester", Token.objects.get().key)
    assert found["scopes"] == [{"verbs": ["see"], "environment": "dev", "flow": "monthly", "deployment": "", "tag": ""}]


def test_answers_are_not_stored_on_the_way(requester: User, program: Programs) -> None:
    answer = program(requester).get("/environments")
    assert answer.headers["Cache-Control"] == "no-store"


def test_requests_are_counted_and_limited(requester: User, program: Programs, monkeypatch: Any) -> None:
    monkeypatch.setattr(authentication, "LIMIT", 2)
    caller = program(requester)
    answers = [caller.get("/me") for _ in range(3)]
    assert [each.status for each in answers] == [200, 200, 429]
    assert [each.headers["RateLimit"].split(";")[1] for each in answers] == ["r=1", "r=0", "r=0"]
    assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
    # Another token is not kept waiting.
    assert program(requester).get("/me").status == 200


def test_guessing_is_slowed_down_and_a_valid_token_is_not(requester: User, program: Programs, monkeypatch: Any) -> None:
    monkeypatch.setattr(throttle, "ADDRESS", throttle.Limit(3, longest=60))
    caller = program(requester)
    answers = [Program("x").get("/me") for _ in range(5)]
    assert [each.status for each in answers] == [401, 401, 401, 429, 429]
    assert int(answers[-1].headers["Retry-After"]) >= 1
    assert caller.get("/me").status == 200


def test_a_found_token_is_revoked_by_posting_it(requester: User, program: Programs) -> None:
    caller = program(requester)
    assert Program("").post("/tokens/revoke", {"token": caller.text}).body == {"revoked": True}
    assert caller.get("/me").status == 401
    assert Program("").post("/tokens/revoke", {"token": caller.text}).body == {"revoked": False}
    assert AuditEntry.objects.get(verb="token.revoke").address == PLACE


def test_the_secret_is_in_no_answer_and_no_entry(
    requester: User, deployment: Deployment, program: Programs, caplog: Any
) -> None:
    caller = program(requester)
    secret = caller.text.partition(".")[2]
    bodies = [caller.get(path).body for path in ("/me", "/environments", "/audit", "/nothing")]
    bodies.append(caller.post("/changes", {"environment": "dev", "deployment": caller.text}).body)
    told = f"{bodies} {list(AuditEntry.objects.values())} {caplog.text}"
    # The whole token was sent as a name, and is quoted back to the sender alone.
    assert secret not in told.replace(caller.text, "")
    assert caller.text not in f"{list(AuditEntry.objects.values())} {caplog.text}"


def test_an_unknown_address_is_a_problem(requester: User, program: Programs) -> None:
    assert program(requester).get("/nothing").code == "route.unknown"
    assert Client().post("/api/elsewhere").json()["code"] == "route.unknown"
