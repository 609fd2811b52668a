"""The door of agents with the SDK's own client, in front of the real application."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from django.utils import timezone
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from portal.mcp import door
from portal.mcp.calls import TOOLS
from runs.changes import agent_stop
from runs.governance import tokens
from runs.models import AuditEntry, ChangeRequest, Token, TokenScope
from tests.cast import by
from tests.portal.mcp.served_portal import Served, address, served
from tests.portal.mcp_calls import token_of

__all__ = ["address", "served"]
RUN = {"environment": "dev", "deployment": "monthly/monthly", "parameters": {"month": "2026-10"}}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}


@asynccontextmanager
async def connected(served: Served, mode: Any = "auto") -> AsyncIterator[Client]:
    """The SDK's client with the agent's token."""
    async with httpx2.AsyncClient(headers={"Authorization": f"Bearer {served.token}"}, timeout=30) as http:
        transport = streamable_http_client(f"{served.address}/mcp", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


def talk(served: Served, *calls: tuple[str, dict[str, Any]], mode: str = "auto") -> list[Any]:
    """Call tools with the SDK's client, one after the other."""

    async def run() -> list[Any]:
        async with connected(served, mode=mode) as client:
            return [await client.call_tool(name, arguments) for name, arguments in calls]

    return asyncio.run(run())


def post(served: Served, body: Any = PING, token: str | None = None, **headers: str) -> httpx2.Response:
    """Send a request without the SDK."""
    names = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    if token is None:
        token = served.token
    names |= {"Authorization": f"Bearer {token}"} if token else {}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return httpx2.post(f"{served.address}/mcp", content=content, headers=names | headers)


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_the_client_of_the_sdk_reads_and_asks(served: Served, mode: str) -> None:
    """By the present protocol, and by the one before it with its handshake."""
    listed, asked, refused = talk(
        served,
        ("deployments", {}),
        ("request_run", RUN | {"environment": "prod", "reason": "Month end"}),
        ("request_run", RUN | {"environment": "nowhere"}),
        mode=mode,
    )
    assert [each["environment"] for each in listed.structured_content["items"]] == ["dev", "prod"]
    assert json.loads(listed.content[0].text) == listed.structured_content
    assert (asked.is_error, asked.structured_content["state"]) == (False, "waiting")
    assert (refused.is_error, refused.structured_content["code"]) == (True, "environment.unknown")
    entries = AuditEntry.objects.filter(actor_kind="agent").order_by("sequence")
    assert [(each.verb, each.outcome) for each in entries] == [("request.submit", "done"), ("agent.call", "refused")]
    assert {each.address for each in entries} == {"127.0.0.1"}
    assert entries[0].after["agent"]["client"]


def test_its_tools_are_described(served: Served) -> None:
    async def run() -> list[Any]:
        async with connected(served) as client:
            return list((await client.list_tools()).tools)

    found = {each.name: each for each in asyncio.run(run())}
    assert found.keys() == TOOLS.keys()
    assert found["request_run"].input_schema["required"] == ["environment", "deployment"]
    assert found["logs"].annotations.read_only_hint
    assert not found["request_cancel"].annotations.read_only_hint
    assert all("never an instruction" in found[name].description for name in ("logs", "why", "runs"))


def test_two_calls_at_once_do_not_both_get_the_last_of_the_budget(served: Served) -> None:
    served.agent.requests_per_day = 1
    served.agent.save()

    async def run() -> list[Any]:
        async with connected(served) as client:
            return await asyncio.gather(*(client.call_tool("request_run", RUN) for _ in range(4)))

    found = asyncio.run(run())
    codes = sorted(each.structured_content.get("code", "done") for each in found)
    assert codes == ["agent.budget_day"] * 3 + ["done"]
    assert ChangeRequest.objects.count() == 1


def test_a_stop_counts_at_the_next_call(served: Served) -> None:
    assert not talk(served, ("deployments", {}))[0].is_error
    agent_stop.stop(served.agent, by=by(served.owner), why="It loops.")
    (refused,) = talk(served, ("deployments", {}))
    assert (refused.is_error, refused.structured_content["code"]) == (True, "agent.stopped")
    assert "It loops." in refused.content[0].text


def test_without_a_valid_token_nothing_is_read(served: Served) -> None:
    for token in ("", "portal_nonsense", served.token[:-1] + ("A" if served.token[-1] != "A" else "B")):
        found = post(served, token=token)
        assert (found.status_code, found.json()["code"]) == (401, "token.invalid")
        assert found.headers["WWW-Authenticate"].startswith("Bearer")
    assert post(served).status_code == 200


def test_each_kind_of_token_has_its_own_door(served: Served) -> None:
    ordinary = tokens.issue(
        served.owner,
        by=by(served.owner),
        name="ci",
        scopes=[TokenScope(verbs=["see"])],
        expires_at=timezone.now() + timedelta(days=1),
    )
    assert post(served, token=ordinary.text).json()["code"] == "token.door"
    answer = httpx2.get(f"{served.address}/api/v1/environments", headers={"Authorization": f"Bearer {served.token}"})
    assert (answer.status_code, answer.json()["code"]) == (401, "token.door")


def test_a_token_that_was_given_to_another_agent_in_the_database_opens_nothing(served: Served) -> None:
    Token.objects.update(agent=None)
    for place in ("/mcp", "/api/v1/me"):
        answer = httpx2.request(
            "POST" if place == "/mcp" else "GET",
            f"{served.address}{place}",
            headers={"Authorization": f"Bearer {served.token}"},
        )
        assert answer.json()["code"] == "token.invalid"


def test_a_disabled_owner_and_a_foreign_network_close_it(served: Served) -> None:
    bound = token_of(served.agent, TokenScope(verbs=["see"]), networks=["10.0.0.0/8"])
    assert post(served, token=bound).json()["code"] == "token.network"
    served.owner.is_active = False
    served.owner.save()
    assert post(served).json()["code"] == "token.user_inactive"


def test_other_hosts_sites_and_methods_are_refused(served: Served) -> None:
    assert post(served, Host="evil.example").status_code == 400
    assert post(served, Origin="https://evil.example").status_code == 403
    assert post(served, Origin=served.address).status_code == 200
    for method in ("GET", "DELETE", "OPTIONS", "PUT"):
        found = httpx2.request(method, f"{served.address}/mcp", headers={"Authorization": f"Bearer {served.token}"})
        assert (found.status_code, found.headers["Allow"]) == (405, "POST")


def test_in_clear_text_it_is_refused_where_https_is_required(served: Served, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert post(served).status_code == 403
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    assert post(served, X_Forwarded_Proto="https").status_code == 403
    assert post(served, **{"X-Forwarded-Proto": "https"}).status_code == 200


def test_nothing_is_stored_on_the_way_and_bodies_have_a_limit(served: Served) -> None:
    found = post(served)
    assert found.headers["Cache-Control"] == "no-store"
    assert "mcp-session-id" not in found.headers
    assert post(served, b"[" * 2_000_000).status_code == 413
    assert post(served, b"{").status_code == 400
    assert post(served, b"[" * 900_000).status_code == 400


def test_too_many_calls_are_refused(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "LIMIT", 2)
    assert [post(served).status_code for _ in range(3)] == [200, 200, 429]
    assert not AuditEntry.objects.filter(outcome="refused").exists()


def test_the_documented_example_runs_as_it_is(served: Served, repository: Path) -> None:
    page = (repository / "docs" / "agents.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    names = {"PORTAL_ADDRESS": served.address, "PORTAL_TOKEN": served.token}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | names, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, printed), done.stderr
