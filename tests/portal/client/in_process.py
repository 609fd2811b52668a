"""The client and its command, in front of the real API in this process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.test import Client

from portal.client import Portal
from portal.client.command_line import main
from runs.models import TokenScope
from tests.portal.api.programs import Programs

ADDRESS = "https://testserver"

Portals = Callable[..., Portal]


@dataclass
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Commands = Callable[..., Ended]


@pytest.fixture
def transport(db: None) -> httpx.MockTransport:
    """Answers requests with the whole application, middleware included, inside the test's transaction.

    Django's own client does not close the connection after each request, as its handler for servers does.
    """
    application = Client(enforce_csrf_checks=True, raise_request_exception=False)

    def answer(request: httpx.Request) -> httpx.Response:
        found = application.generic(
            request.method,
            request.url.raw_path.decode(),
            request.content,
            content_type=request.headers.get("Content-Type", ""),
            secure=True,
            headers=dict(request.headers),
            REMOTE_ADDR="192.0.2.7",
        )
        return httpx.Response(found.status_code, headers=dict(found.headers), content=found.content)

    return httpx.MockTransport(answer)


@pytest.fixture
def portal(program: Programs, transport: httpx.MockTransport) -> Portals:
    """Makes clients that act as a person, with all verbs everywhere or with these scopes."""

    def make(user: User, *scopes: TokenScope) -> Portal:
        return Portal(ADDRESS, program(user, *scopes).text, transport=transport)

    return make


@pytest.fixture
def command(
    program: Programs,
    transport: httpx.MockTransport,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Commands:
    """Runs `portal` as a person, each with one token: command(requester, "runs", "-e", "dev")."""

    texts: dict[str, str] = {}

    def run(user: User | None, *words: Any, scopes: tuple[TokenScope, ...] = (), **token: Any) -> Ended:
        if user is not None:
            monkeypatch.setenv("PORTAL_ADDRESS", ADDRESS)
            text = "" if scopes or token else texts.get(user.username, "")
            text = text or program(user, *scopes, **token).text
            if not scopes and not token:
                texts[user.username] = text
            monkeypatch.setenv("PORTAL_TOKEN", text)
        capsys.readouterr()
        try:
            code = main([str(each) for each in words], transport=transport)
        except SystemExit as error:
            code = int(error.code or 0)
        return Ended(code, *capsys.readouterr())

    return run
