"""Following events: over connections that break, from the last event on, until the portal ends it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

import httpx
import pytest

from portal.client import Portal, TokenRejected, event_stream
from portal.client.command_line import main
from portal.client.web_session import WebSession
from tests.portal.client.in_process import ADDRESS

TOKEN = "portal_of_somebody"


def message(number: int) -> str:
    moment = datetime(2026, 11, 29, 8, number % 60, tzinfo=UTC).isoformat()
    row = {
        "id": number,
        "kind": "run moved",
        "environment": "dev",
        "deployment": "monthly/monthly",
        "run": "6b0ee5a1-8b6f-4a2b-9a3a-0c4f6f0c8d11",
        "request": 7,
        "change": None,
        "data": {"state": "RUNNING\x1b[2J"},
        "occurred_at": moment,
        "observed_at": moment,
    }
    return f"id: {number}\nevent: run moved\ndata: {json.dumps(row)}\n\n"


class Server:
    """Answers each connection with the next text; a text that ends with a break is cut off there."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        if not self.texts:
            raise httpx.ConnectError("refused", request=request)
        return httpx.Response(
            200, headers={"Content-Type": "text/event-stream"}, content=self.pieces(self.texts.pop(0))
        )

    @staticmethod
    def pieces(text: str) -> Iterator[bytes]:
        text, is_cut, _ = text.partition("CUT")
        yield text.encode()
        if is_cut:
            raise httpx.ReadError("connection lost")


def client(server: Server) -> Portal:
    return Portal(ADDRESS, TOKEN, transport=httpx.MockTransport(server))


def test_a_lost_connection_goes_on_after_the_last_event(slept: list[float]) -> None:
    server = Server(f"retry: 3000\nid: 4\n\n{message(5)}CUT", "", f": ping\nid: 5\n\n{message(6)}{message(7)}")
    found = list(islice(client(server).events("dev", follow=True, kind=["run moved"]), 3))
    assert [each.id for each in found] == [5, 6, 7]
    assert [each.headers.get("Last-Event-ID") for each in server.asked] == [None, "5", "5"]
    assert dict(server.asked[0].url.params) == {"environment": "dev", "kind": "run moved"}
    # No busy loop, also when a proxy answers with nothing.
    assert slept == [1.0, 2.0]


def test_a_place_to_start_is_sent(slept: list[float]) -> None:
    server = Server(message(6))
    assert next(client(server).events(follow=True, after=0)).id == 6
    assert server.asked[0].headers["Last-Event-ID"] == "0"


def test_the_position_of_a_quiet_stream_is_kept(slept: list[float]) -> None:
    server = Server("id: 4\n\n: ping\nid: 90\n\nCUT", message(91))
    assert next(client(server).events(follow=True)).id == 91
    assert server.asked[1].headers["Last-Event-ID"] == "90"


def test_it_ends_with_the_token(slept: list[float]) -> None:
    server = Server("id: 4\n\nevent: end\ndata: token.revoked\n\n")
    with pytest.raises(TokenRejected) as raised:
        next(client(server).events(follow=True))
    assert raised.value.code == "token.revoked"


def test_a_token_of_a_job_is_renewed(slept: list[float]) -> None:
    server = Server(f"{message(5)}event: end\ndata: token.expired\n\n", message(6))
    session = WebSession(ADDRESS, TOKEN, renew=lambda: "portal_of_the_job_again", transport=httpx.MockTransport(server))
    found = list(islice(event_stream.follow(session, {}, None), 2))
    assert [each.id for each in found] == [5, 6]
    assert [each.headers["Authorization"][-5:] for each in server.asked] == ["ebody", "again"]
    assert server.asked[1].headers["Last-Event-ID"] == "5"


def test_a_page_instead_of_a_stream_is_an_error() -> None:
    def page(request: httpx.Request) -> httpx.Response:
        return httpx.Response(302, headers={"Location": "https://sign-in.example.com/?token=x"})

    portal = Portal(ADDRESS, TOKEN, transport=httpx.MockTransport(page))
    with pytest.raises(Exception, match=r"redirects to sign-in\.example\.com"):
        next(portal.events(follow=True))


def test_the_command_prints_one_event_a_line(
    slept: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORTAL_ADDRESS", ADDRESS)
    monkeypatch.setenv("PORTAL_TOKEN", TOKEN)
    for words in ([], ["--json"]):
        server = Server(f"{message(5)}{message(6)}event: end\ndata: token.expired\n\n")
        code = main(["events", "-f", *words], transport=httpx.MockTransport(server))
        out, err = capsys.readouterr()
        assert code == 2
        assert "token.expired" in err
        first, _ = out.splitlines()
        assert "\x1b" not in out
        if words:
            assert json.loads(first)["id"] == 5
        else:
            assert "run moved" in first
            assert "request 7" in first
