"""Retries, foreign answers, addresses, and that the token stays out of sight."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from portal.client import (
    Misconfigured,
    Portal,
    PortalError,
    PortalFailed,
    TokenRejected,
    TooManyRequests,
    UnexpectedAnswer,
    Unreachable,
)
from portal.client.web_session import ATTEMPTS, safe_address
from runs.models import ChangeRequest
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import ADDRESS

TOKEN = "portal_abcdefgh_0123456789"
NAME, VALUES = "monthly/monthly", {"month": "2026-10"}
ME = {
    "user": "otto",
    "on_behalf_of": "",
    "token": "abcdefgh",
    "token_name": "CI",
    "expires_at": "2027-01-01T00:00:00Z",
    "scopes": [],
}


def problem(status: int, code: str, **headers: str) -> httpx.Response:
    names = {"Content-Type": "application/problem+json"} | {name.replace("_", "-"): v for name, v in headers.items()}
    return httpx.Response(status, json={"code": code, "detail": "Sentence.", "status": status}, headers=names)


def client_of(*answers: httpx.Response | Exception, seen: list[httpx.Request] | None = None) -> Portal:
    """A client whose requests are answered in turn, the last answer for ever."""
    left = list(answers)

    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        found = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(found, Exception):
            raise found
        return found

    return Portal(ADDRESS, TOKEN, transport=httpx.MockTransport(answer))


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("late"),
        httpx.Response(502, html="<h1>Bad gateway</h1>"),
        problem(500, "portal.failed"),
        problem(409, "idempotency.in_flight", Retry_After="1"),
        problem(429, "rate.exceeded", Retry_After="7"),
    ],
    ids=lambda each: getattr(each, "status_code", type(each).__name__),
)
def test_what_passes_is_sent_again(failure: Any, slept: list[float]) -> None:
    assert client_of(failure, httpx.Response(200, json=ME)).me().user == "otto"
    (seconds,) = slept
    wanted = getattr(failure, "headers", {}).get("Retry-After")
    assert seconds == float(wanted) if wanted else 0 < seconds <= 0.5


def test_what_stays_is_given_up(slept: list[float]) -> None:
    with pytest.raises(PortalFailed):
        client_of(problem(503, "portal.failed")).me()
    assert len(slept) == ATTEMPTS - 1
    assert slept == sorted(slept)


def test_a_long_retry_after_is_not_waited_for(slept: list[float]) -> None:
    with pytest.raises(TooManyRequests) as raised:
        client_of(problem(429, "token.throttled", Retry_After="300")).me()
    assert (raised.value.retry_after, slept) == (300, [])


@pytest.mark.parametrize("status", [401, 403, 404, 409, 422])
def test_a_refusal_is_not_repeated(status: int, slept: list[float]) -> None:
    with pytest.raises(PortalError):
        client_of(problem(status, "some.code")).me()
    assert not slept


@pytest.mark.django_db
def test_a_request_whose_answer_was_lost_is_done_once(
    requester: User, deployment: Deployment, program: Programs, transport: httpx.MockTransport
) -> None:
    keys = []

    def loses_the_first(request: httpx.Request) -> httpx.Response:
        answer = transport.handle_request(request)
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.ReadError("cut off", request=request)
        return answer

    client = Portal(ADDRESS, program(requester).text, transport=httpx.MockTransport(loses_the_first))
    change = client.run("dev", NAME, VALUES, scheduled_for=datetime.now(UTC) + timedelta(days=1))
    assert ChangeRequest.objects.get().pk == change.id
    assert (len(keys), len(set(keys))) == (2, 1)


def test_every_request_that_acts_has_a_key_of_its_own() -> None:
    seen: list[httpx.Request] = []
    client = client_of(problem(403, "access.no_grant"), seen=seen)
    acts: list[Callable[[], Any]] = [
        lambda: client.run("dev", NAME),
        lambda: client.approve(1, digest="0" * 64),
        lambda: client.reject(1, "x"),
        lambda: client.withdraw(1),
        lambda: client.comment(1, "x"),
        lambda: client.grant("otto", ["see"]),
        lambda: client.revoke(1),
        lambda: client.freeze("dev", "x"),
        lambda: client.unfreeze("dev"),
    ]
    for act in acts:
        with pytest.raises(PortalError):
            act()
    keys = [each.headers["Idempotency-Key"] for each in seen]
    assert len(set(keys)) == len(acts)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (httpx.Response(302, headers={"Location": "https://login.example.com/?secret=1"}), UnexpectedAnswer),
        (httpx.Response(200, html="<h1>Sign in</h1>"), UnexpectedAnswer),
        (httpx.Response(404, html="<h1>Not here</h1>"), UnexpectedAnswer),
        (httpx.Response(200, text="{", headers={"Content-Type": "application/json"}), UnexpectedAnswer),
        (httpx.Response(200, json={"user": 7}), UnexpectedAnswer),
        (httpx.Response(200, json=[]), UnexpectedAnswer),
        (httpx.Response(503, html="<h1>Down</h1>"), Unreachable),
    ],
)
def test_what_is_not_the_api_is_an_error(answer: httpx.Response, kind: type[Exception]) -> None:
    with pytest.raises(kind) as raised:
        client_of(answer).me()
    assert "secret" not in str(raised.value)


def test_the_token_is_never_shown(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = client_of(problem(401, "token.expired"), httpx.ConnectError("refused"))
    shown = [repr(client), repr(client._session), str(vars(client._session))]
    for kind in (TokenRejected, Unreachable):
        with pytest.raises(kind) as raised:
            client.me()
        shown += [str(raised.value), repr(raised.value), str(raised.value.__cause__), str(raised.value.args)]
    assert TOKEN not in "\n".join([*shown, caplog.text])
    with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
        pickle.dumps(client)


@pytest.mark.parametrize("token", ["portal_a b", "portal_a\nb", "pörtal", " "])
def test_what_is_no_token_is_not_quoted(token: str) -> None:
    with pytest.raises(Misconfigured) as raised:
        Portal(ADDRESS, token)
    assert token.strip() == "" or token not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [
        *("http://portal.example.com", "http://192.0.2.1", "http://localhost.example.com", "ftp://localhost"),
        *("portal.example.com", "", "https://", "https://otto:pw@portal.example.com", "https://a.example/?x=1"),
    ],
)
def test_an_address_that_is_not_safe_is_refused(address: str) -> None:
    with pytest.raises(Misconfigured):
        safe_address(address, allow_insecure=False)


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://portal.example.com/", "https://portal.example.com"),
        ("https://example.com/portal/api/v1", "https://example.com/portal"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://[::1]:8000/", "http://[::1]:8000"),
        ("http://localhost:8000", "http://localhost:8000"),
    ],
)
def test_an_address_is_kept_without_the_path_of_the_api(address: str, kept: str) -> None:
    assert safe_address(address, allow_insecure=False) == kept


def test_http_can_be_allowed() -> None:
    assert Portal("http://portal.example.com", TOKEN, allow_insecure=True).address == "http://portal.example.com"
