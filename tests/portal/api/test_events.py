"""Events over HTTP: who receives which, in which order, from where on, and when a stream ends."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.test import AsyncClient
from django.test.utils import CaptureQueriesContext

from flows.models import Deployment, Environment
from portal.api import event_routes
from portal.live import broadcast
from portal.live.broadcast import Broadcaster, Changes
from runs import changes, events, requests
from runs.governance import tokens
from runs.models import Grant, RunEvent, Token, TokenScope
from tests.cast import by
from tests.portal.api.programs import PLACE, Program, Programs

pytestmark = pytest.mark.django_db
Kind = RunEvent.Kind
MONTH = {"month": "2026-10"}


class Silent(Broadcaster):
    """Does not listen: these tests commit nothing."""

    async def _listen(self) -> None:
        await asyncio.sleep(3600)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_routes, "PACE_SECONDS", 0.0)


def channel() -> Broadcaster:
    return broadcast.BROADCASTERS.setdefault(asyncio.get_running_loop(), Silent())


def story(test: Callable[[], Awaitable[None]]) -> None:
    """Runs a coroutine so that its database calls stay in the test's transaction."""
    async_to_sync(test)()


async def asked(caller: Program, query: str = "", **headers: str) -> Any:
    channel()
    names = {name.replace("_", "-"): each for name, each in headers.items()}
    names["Authorization"] = f"Bearer {caller.text}"
    return await AsyncClient().get(f"/api/v1/events/stream?{query}", headers=names, REMOTE_ADDR=PLACE)


@asynccontextmanager
async def opened(caller: Program, query: str = "", **headers: str) -> AsyncIterator[AsyncIterator[dict[str, str]]]:
    """The messages of a stream, each as its fields."""
    answer = await asked(caller, query, **headers)
    assert answer.status_code == 200, answer.content
    assert answer["Content-Type"] == "text/event-stream"
    assert answer["Cache-Control"] == "no-store"
    stream: AsyncGenerator[Any] = aiter(answer)
    try:
        yield (fields_of(piece.decode() if isinstance(piece, bytes) else piece) async for piece in stream)
    finally:
        await stream.aclose()


def fields_of(piece: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in piece.strip().splitlines())


async def following(stream: AsyncIterator[dict[str, str]]) -> dict[str, str]:
    return await asyncio.wait_for(anext(stream), 5)


@sync_to_async
def in_database[**P, R](act: Callable[P, R], *words: P.args, **names: P.kwargs) -> R:
    return act(*words, **names)


async def happens(act: Callable[[], Any]) -> None:
    """Something happens, and its events are announced as a commit would."""
    await in_database(lambda: (act(), events.relay()))
    channel().deliver(Changes({"event": frozenset([1])}))


def kinds(caller: Program, query: str = "") -> list[str]:
    answer = caller.get(f"/events?{query}")
    assert answer.status == 200, answer.body
    return [each["kind"] for each in answer.body["items"]]


def test_events_of_what_is_seen_are_listed(
    requester: User, stranger: User, approver: User, prod_deployment: Deployment, program: Programs
) -> None:
    made = requests.submit(prod_deployment, MONTH, by=by(requester), reason="Month end")
    changes.reject(made.change, by=by(approver), reason="no")
    assert kinds(program(requester)) == []
    events.relay()
    found = program(requester).get("/events?environment=prod").body["items"]
    assert [each["kind"] for each in found] == ["request waiting", "request rejected"]
    assert found[0]["request"] == made.pk
    assert found[0]["deployment"] == prod_deployment.full_name
    assert found[0]["id"] < found[1]["id"]
    assert kinds(program(stranger)) == []
    assert kinds(program(requester, TokenScope(verbs=["see"]))) == []
    assert kinds(program(requester), f"after={found[0]['id']}") == ["request rejected"]
    assert kinds(program(requester), f"kind=request waiting&request={made.pk}") == ["request waiting"]
    assert kinds(program(requester), "environment=dev") == []


def test_events_of_rules_are_for_nobody_with_a_token(
    admin_user: User, dev: Environment, deployment: Deployment, program: Programs
) -> None:
    for kind in Kind:
        events.record(kind, environment=dev, data={"lines": ["secret"]})
    events.relay()
    of_environments = ["environment disabled", "environment down", "environment back"]
    assert kinds(program(admin_user)) == ["freeze started", "freeze ended", *of_environments]


def test_a_run_that_moves_is_an_event(requester: User, a_run: Any, deployment: Deployment, program: Programs) -> None:
    row = a_run()
    events.record_many(
        [RunEvent(kind=Kind.RUN_MOVED, environment_id=row.environment_id, run_id=row.pk, data={"state": "RUNNING"})]
    )
    events.relay()
    (found,) = program(requester).get(f"/events?run={row.prefect_id}&kind=run moved").body["items"]
    assert (found["run"], found["data"]) == (str(row.prefect_id), {"state": "RUNNING"})


def test_a_stream_begins_now_and_sends_what_happens(requester: User, deployment: Deployment, program: Programs) -> None:
    caller = program(requester)
    requests.submit(deployment, MONTH, by=by(requester))

    def record() -> None:
        events.record(Kind.FREEZE_STARTED, environment=deployment.environment, data={"reason": "Audit"})

    record()
    events.relay()

    async def act() -> None:
        async with opened(caller) as stream:
            first = await following(stream)
            assert first["retry"] == "3000"
            await happens(record)
            message = await following(stream)
            assert message["event"] == "freeze started"
            assert int(message["id"]) == int(first["id"]) + 1
            assert json.loads(message["data"])["data"] == {"reason": "Audit"}

    story(act)


@pytest.mark.parametrize("by_header", [True, False])
def test_a_stream_goes_on_after_the_last_event(
    requester: User, dev: Environment, deployment: Deployment, program: Programs, by_header: bool
) -> None:
    caller = program(requester)
    for _ in range(3):
        events.record(Kind.FREEZE_ENDED, environment=dev)
    events.relay()
    ids = [each["id"] for each in caller.get("/events").body["items"]]

    async def act() -> None:
        words = {"Last_Event_ID": str(ids[0])} if by_header else {}
        async with opened(caller, "" if by_header else f"after={ids[0]}", **words) as stream:
            await following(stream)
            assert [int((await following(stream))["id"]) for _ in range(2)] == ids[1:]

    story(act)


def test_what_is_not_visible_is_passed_over(
    requester: User, prod_deployment: Deployment, dev: Environment, deployment: Deployment, program: Programs
) -> None:
    caller = program(requester, TokenScope(verbs=["see"], environment=dev))

    async def act() -> None:
        async with opened(caller) as stream:
            await following(stream)
            prod = prod_deployment.environment
            await happens(lambda: events.record(Kind.FREEZE_STARTED, environment=prod))
            await happens(lambda: events.record(Kind.FREEZE_ENDED, environment=dev))
            assert (await following(stream))["event"] == "freeze ended"

    story(act)


@pytest.mark.parametrize("way", ["revoke", "disable", "expire"])
def test_a_stream_ends_with_its_token(
    requester: User, dev: Environment, deployment: Deployment, program: Programs, way: str
) -> None:
    caller = program(requester)
    token = Token.objects.get()

    def end() -> None:
        if way == "revoke":
            tokens.revoke(token, by=by(requester))
        elif way == "disable":
            User.objects.filter(pk=requester.pk).update(is_active=False)
        else:
            Token.objects.filter(pk=token.pk).update(expires_at=token.created_at)
        events.record(Kind.FREEZE_ENDED, environment=dev)

    async def act() -> None:
        async with opened(caller) as stream:
            await following(stream)
            await happens(end)
            message = await following(stream)
            code = {"revoke": "token.revoked", "disable": "token.user_inactive", "expire": "token.expired"}[way]
            assert message == {"event": "end", "data": code}
            with pytest.raises(StopAsyncIteration):
                await following(stream)

    story(act)


def test_a_grant_that_is_revoked_counts_at_once(
    requester: User, dev: Environment, deployment: Deployment, program: Programs
) -> None:
    caller = program(requester)

    def lose() -> None:
        Grant.objects.all().delete()
        events.record(Kind.FREEZE_ENDED, environment=dev)

    async def act() -> None:
        async with opened(caller, "seconds=1") as stream:
            await following(stream)
            await happens(lose)
            with pytest.raises(StopAsyncIteration):
                await following(stream)

    story(act)


def test_a_token_has_a_few_streams(requester: User, deployment: Deployment, program: Programs) -> None:
    caller, other = program(requester), program(requester)

    async def act() -> None:
        open_ones = [await asked(caller) for _ in range(event_routes.MAX_STREAMS_PER_TOKEN)]
        answer = await asked(caller)
        assert (answer.status_code, json.loads(answer.content)["code"]) == (429, "events.too_many")
        assert answer["Retry-After"]
        assert (await asked(other)).status_code == 200
        # Closing the response leaves its generator to the event loop.
        open_ones.clear()
        async with asyncio.timeout(5):
            while (again := await asked(caller)).status_code == 429:
                gc.collect()
                await asyncio.sleep(0.01)
        assert again.status_code == 200

    story(act)


def test_a_quiet_stream_says_how_far_it_is(
    requester: User, dev: Environment, deployment: Deployment, program: Programs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_routes, "PING_SECONDS", 0.1)
    monkeypatch.setattr(event_routes, "RECHECK_SECONDS", 0.0)
    caller = program(requester)

    async def act() -> None:
        async with opened(caller, "kind=run moved") as stream:
            first = int((await following(stream))["id"])
            await happens(lambda: events.record(Kind.FREEZE_ENDED, environment=dev))
            assert int((await following(stream))["id"]) == first + 1

    story(act)


def test_bad_questions_are_refused(requester: User, program: Programs) -> None:
    caller = program(requester)

    async def act() -> None:
        for query, headers in (("colour=red", {}), ("", {"Last_Event_ID": "x"}), ("seconds=0", {})):
            answer = await asked(caller, query, **headers)
            assert answer.status_code == 422, (query, headers)
        assert (await asked(Program("portal_nothing"))).status_code == 401

    story(act)


def test_the_relay_announces_what_it_has_placed(dev: Environment) -> None:
    # Postgres delivers it at the commit; the payload is the last position.
    events.record(Kind.FREEZE_ENDED, environment=dev)
    with CaptureQueriesContext(connection) as queries:
        assert events.relay() == 1
    assert any('"event"' in each["sql"] for each in queries)
    with CaptureQueriesContext(connection) as queries:
        assert events.relay() == 0
    assert not any("pg_notify" in each["sql"] for each in queries)
