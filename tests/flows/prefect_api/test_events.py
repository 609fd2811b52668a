"""How the client listens: the handshake of Prefect's event stream, and every way it can end."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from uuid import UUID, uuid4

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from flows.prefect_api.client import PrefectClient
from flows.prefect_api.records import Credential, EventRecord, PrefectError, Rejected, Unauthorized, Unreachable

RUN = uuid4()
SECRET = "portal:hunter2-and-more"
EVENT = {
    "type": "event",
    "event": {"event": "prefect.flow-run.Running", "resource": {"prefect.resource.id": f"prefect.flow-run.{RUN}"}},
}

Talk = Callable[[ServerConnection], Awaitable[None]]
Refusal = Callable[[ServerConnection, Request], Response | None]


NOTHING = Credential("none")


@asynccontextmanager
async def stream(talk: Talk, refusal: Refusal | None) -> AsyncIterator[str]:
    prefect = [Subprotocol("prefect")]
    async with serve(talk, "127.0.0.1", 0, subprotocols=prefect, process_request=refusal) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/api"


def hear(
    talk: Talk, credential: Credential = NOTHING, refusal: Refusal | None = None
) -> tuple[list[EventRecord], PrefectError]:
    """What is heard until the stream ends, and the error that it always ends with."""
    heard: list[EventRecord] = []

    async def listen() -> None:
        async with stream(talk, refusal) as url:
            async for event in PrefectClient(url, credential).events():
                heard.append(event)

    with pytest.raises(PrefectError) as end:
        asyncio.run(asyncio.wait_for(listen(), 10))
    return heard, end.value


async def welcome(socket: ServerConnection) -> dict[str, dict[str, dict[str, str]]]:
    await socket.recv()
    await socket.send(json.dumps({"type": "auth_success"}))
    answer: dict[str, dict[str, dict[str, str]]] = json.loads(await socket.recv())
    return answer


def test_it_sends_the_credential_and_then_a_filter_without_an_end() -> None:
    received: list[object] = []

    async def talk(socket: ServerConnection) -> None:
        assert socket.request is not None
        received.extend((socket.request.path, socket.subprotocol, json.loads(await socket.recv())))
        await socket.send(json.dumps({"type": "auth_success"}))
        received.append(json.loads(await socket.recv()))

    hear(talk, Credential("basic", SECRET))

    path, subprotocol, introduction, subscription = received
    assert (path, subprotocol) == ("/api/events/out", "prefect")
    assert introduction == {"type": "auth", "token": SECRET}
    assert isinstance(subscription, dict)
    assert subscription["type"] == "filter"
    assert subscription["filter"]["event"] == {"prefix": ["prefect.flow-run.", "prefect.task-run."]}
    now = datetime.now(UTC)
    assert datetime.fromisoformat(subscription["filter"]["occurred"]["until"]) > now + timedelta(days=365)
    assert now - timedelta(minutes=2) < datetime.fromisoformat(subscription["filter"]["occurred"]["since"]) < now


def test_without_a_credential_the_token_is_empty() -> None:
    received: list[object] = []

    async def talk(socket: ServerConnection) -> None:
        received.append(json.loads(await socket.recv()))

    hear(talk)

    assert received == [{"type": "auth", "token": None}]


def test_flow_run_events_are_yielded_and_other_messages_skipped() -> None:
    async def talk(socket: ServerConnection) -> None:
        await welcome(socket)
        for message in (json.dumps(EVENT), "not json", "[]", json.dumps({"type": "event"}), json.dumps(EVENT)):
            await socket.send(message)

    heard, _ = hear(talk)

    assert heard == [EventRecord(RUN, "prefect.flow-run.Running")] * 2


def test_each_log_line_names_its_run() -> None:
    received: list[object] = []
    line = {"type": "log", "log": {"flow_run_id": str(RUN), "message": "of no interest"}}

    async def talk(socket: ServerConnection) -> None:
        assert socket.request is not None
        received.extend((socket.request.path, await welcome(socket)))
        for message in (json.dumps(line), "not json", json.dumps({"type": "log", "log": {"flow_run_id": None}})):
            await socket.send(message)

    heard: list[UUID] = []

    async def listen() -> None:
        async with stream(talk, None) as url:
            async for flow_run_id in PrefectClient(url, NOTHING).log_hints():
                heard.append(flow_run_id)

    with pytest.raises(Unreachable):
        asyncio.run(asyncio.wait_for(listen(), 10))
    assert (heard, received) == ([RUN], ["/api/logs/out", {"type": "filter", "filter": {}}])


def test_an_event_as_large_as_prefect_allows_is_heard() -> None:
    async def talk(socket: ServerConnection) -> None:
        await welcome(socket)
        await socket.send(json.dumps({**EVENT, "payload": "x" * 1_500_000}))

    heard, _ = hear(talk)

    assert len(heard) == 1


async def closes(socket: ServerConnection) -> None:
    await welcome(socket)


async def breaks(socket: ServerConnection) -> None:
    await welcome(socket)
    socket.transport.abort()


async def refuses(socket: ServerConnection) -> None:
    await socket.recv()
    await socket.close(1008, "Invalid token")


async def answers_nonsense(socket: ServerConnection) -> None:
    await socket.recv()
    await socket.send("[]")


@pytest.mark.parametrize(
    ("talk", "error", "code"),
    [
        (closes, Unreachable, "stream.closed"),
        (breaks, Unreachable, "stream.closed"),
        (refuses, Unauthorized, "credential.refused"),
        (answers_nonsense, Unauthorized, "credential.refused"),
    ],
)
def test_every_end_of_the_stream_is_an_error_with_a_code(talk: Talk, error: type[PrefectError], code: str) -> None:
    heard, end = hear(talk, Credential("basic", SECRET))

    assert heard == []
    assert type(end) is error
    assert end.code == code
    assert "http://127.0.0.1:" in str(end)
    assert "hunter2" not in str(end)


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Unauthorized), (403, Rejected), (404, Rejected), (200, Rejected), (502, Unreachable)],
)
def test_a_refused_handshake_says_what_to_check(status: int, error: type[PrefectError]) -> None:
    def refusal(socket: ServerConnection, request: Request) -> Response:
        return socket.respond(HTTPStatus(status), "no")

    _, end = hear(closes, refusal=refusal)

    assert type(end) is error


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed_and_the_credential_stays_here(status: int) -> None:
    heard: list[object] = []

    async def elsewhere(socket: ServerConnection) -> None:
        heard.append(json.loads(await socket.recv()))

    async def listen() -> None:
        prefect = [Subprotocol("prefect")]
        async with serve(elsewhere, "127.0.0.1", 0, subprotocols=prefect) as other:
            target = f"ws://127.0.0.1:{next(iter(other.sockets)).getsockname()[1]}/api/events/out"

            def redirect(socket: ServerConnection, request: Request) -> Response:
                answer = socket.respond(HTTPStatus(status), "elsewhere")
                answer.headers["Location"] = target
                return answer

            async with stream(closes, redirect) as url:
                async for _ in PrefectClient(url, Credential("basic", SECRET)).events():
                    pass

    with pytest.raises(Rejected):
        asyncio.run(asyncio.wait_for(listen(), 10))
    assert heard == []


def test_the_credential_is_not_logged_even_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    # The stand-in for Prefect logs what it receives, which is no doing of ours.
    caplog.set_level(logging.INFO, logger="websockets.server")

    hear(refuses, Credential("basic", SECRET))

    assert caplog.text
    assert "hunter2" not in caplog.text
