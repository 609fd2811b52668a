"""The live stream: who receives which events, what they contain, and when the stream ends."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client

from flows.models import Deployment
from portal.live import broadcast
from portal.live import stream as live_stream
from portal.live.broadcast import Broadcaster, Changes, Subscriber
from portal.models import BrowserSession
from runs import notifications
from runs.actors import Actor
from runs.change_feed import CHANNEL
from runs.governance import grants
from runs.models import Grant, Run
from runs.models.notification import Topic
from tests.portal.live.streams import by_itself, channel, next_event, nothing, opened, publish, status
from tests.portal.many_rows import many_requests, many_runs

Runs = Callable[..., Run]
Login = Callable[[User], Client]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(live_stream, "PACE_OF_LISTS_SECONDS", 0.0)


def test_a_page_receives_changes_of_its_run_and_of_no_other(viewer: User, a_run: Runs) -> None:
    followed, other = a_run("RUNNING"), a_run("RUNNING")

    async def story() -> None:
        async with opened(viewer, f"run={followed.pk}") as stream:
            assert await next_event(stream) == ("ready", {})
            publish(run=other.pk)
            publish(run=followed.pk)
            assert await next_event(stream) == ("nudge", {"run": [followed.pk]})

    by_itself(story)()


def test_the_number_of_unread_messages_is_sent_to_their_person_alone(viewer: User, stranger: User) -> None:
    """Also to one who sees no run: messages need no permission."""
    notifications.create(stranger, Topic.RULES, None, "x", "", None)

    async def story() -> None:
        async with opened(stranger, "inbox=1") as stream:
            assert await next_event(stream) == ("ready", {})
            assert await next_event(stream) == ("inbox", {"unread": 1})
            publish(inbox=viewer.pk)
            publish(inbox=stranger.pk)
            assert await next_event(stream) == ("inbox", {"unread": 1})
            publish(inbox=viewer.pk)
            assert await nothing(stream)

    by_itself(story)()


def test_pages_that_follow_messages_alone_leave_room_for_others(
    viewer: User, a_run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_stream, "MAX_CLIENTS_OF_INBOX", 1)
    run = a_run("RUNNING")

    async def story() -> None:
        async with opened(viewer, "inbox=1"), opened(viewer, f"run={run.pk}&inbox=1"):
            assert await status(viewer, "inbox=1") == 503

    by_itself(story)()


def test_only_ids_are_sent(viewer: User, requester: User, deployment: Deployment, a_run: Runs) -> None:
    run = a_run("RUNNING", name="secret-name")
    (run_request,) = many_requests(deployment, requester, 1)

    async def story() -> None:
        async with opened(viewer, f"run={run.pk}&request={run_request.pk}&list=runs") as stream:
            await next_event(stream)
            publish(run=run.pk, request=run_request.pk)
            received = await next_event(stream)
            assert received == ("nudge", {"run": [run.pk], "request": [run_request.pk], "list": ["runs"]})

    by_itself(story)()


def test_a_list_hears_only_of_what_may_be_seen_and_no_ids(
    viewer: User, a_run: Runs, prod_deployment: Deployment
) -> None:
    seen = a_run("RUNNING")
    (hidden,) = many_runs(prod_deployment, 1)

    async def story() -> None:
        async with opened(viewer, "list=runs") as stream:
            await next_event(stream)
            publish(run=seen.pk)
            assert await next_event(stream) == ("nudge", {"list": ["runs"]})
            publish(run=hidden.pk)
            assert await nothing(stream)

    by_itself(story)()


def test_what_may_not_be_seen_is_not_found(
    viewer: User, stranger: User, a_run: Runs, prod_deployment: Deployment
) -> None:
    run = a_run("RUNNING")
    (hidden,) = many_runs(prod_deployment, 1)

    async def story() -> None:
        assert await status(viewer, f"run={hidden.pk}") == 404
        assert await status(viewer, f"run={run.pk}&run={hidden.pk}") == 404
        assert await status(stranger, f"run={run.pk}") == 404
        assert await status(stranger, "list=runs") == 404
        assert not channel().subscribers

    by_itself(story)()


@pytest.mark.parametrize(
    "query", ["", "run=x", "run=1.5", "list=people", "list=runs&user=1", "&".join(f"run={pk}" for pk in range(60))]
)
def test_nonsense_is_not_found(query: str, viewer: User) -> None:
    async def story() -> None:
        assert await status(viewer, query) == 404

    by_itself(story)()


def test_there_is_no_stream_without_signing_in(a_run: Runs) -> None:
    run = a_run("RUNNING")

    async def story() -> None:
        assert await status(None, f"run={run.pk}") == 403

    by_itself(story)()


def test_a_form_cannot_be_sent_here(viewer: User, login: Login) -> None:
    assert login(viewer).post("/admin/live/?list=runs").status_code == 405


def test_the_stream_ends_with_the_session(viewer: User, a_run: Runs) -> None:
    run = a_run("RUNNING")

    async def story() -> None:
        async with opened(viewer, f"run={run.pk}") as stream:
            await next_event(stream)
            await BrowserSession.objects.all().adelete()
            publish(run=run.pk)
            assert await next_event(stream) == ("end", {})
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
        assert not channel().subscribers

    by_itself(story)()


def test_the_stream_ends_with_the_grant(viewer: User, a_run: Runs) -> None:
    run = a_run("RUNNING")

    async def story() -> None:
        async with opened(viewer, f"run={run.pk}") as stream:
            await next_event(stream)
            await Grant.objects.all().adelete()
            publish(run=run.pk)
            assert await next_event(stream) == ("end", {})

    by_itself(story)()


def test_the_stream_ends_with_a_deny(viewer: User, deployment: Deployment, a_run: Runs) -> None:
    run = a_run("RUNNING")
    deny = sync_to_async(grants.grant)

    async def story() -> None:
        async with opened(viewer, f"run={run.pk}") as stream:
            await next_event(stream)
            await deny(by=Actor.system(), person=viewer, verbs=["see"], effect="deny", full_name=deployment.full_name)
            publish(run=run.pk)
            assert await next_event(stream) == ("end", {})

    by_itself(story)()


def test_the_stream_ends_for_a_disabled_account(viewer: User, a_run: Runs) -> None:
    run = a_run("RUNNING")

    async def story() -> None:
        async with opened(viewer, f"run={run.pk}") as stream:
            await next_event(stream)
            await User.objects.filter(pk=viewer.pk).aupdate(is_active=False)
            publish(run=run.pk)
            assert await next_event(stream) == ("end", {})

    by_itself(story)()


def test_permissions_are_checked_again_without_any_change(
    viewer: User, a_run: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_stream, "PING_SECONDS", 0.05)
    monkeypatch.setattr(live_stream, "RECHECK_SECONDS", 0.1)
    run = a_run("RUNNING")

    async def story() -> None:
        async with opened(viewer, f"run={run.pk}") as stream:
            await next_event(stream)
            await BrowserSession.objects.all().adelete()
            received = [await next_event(stream)]
            while received[-1][0] == "ping":
                received.append(await next_event(stream))
            assert received[-1] == ("end", {})

    by_itself(story)()


def test_a_quiet_stream_sends_pings(viewer: User, a_run: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "PING_SECONDS", 0.05)
    run = a_run("RUNNING")

    async def story() -> None:
        async with opened(viewer, f"run={run.pk}") as stream:
            await next_event(stream)
            assert await asyncio.wait_for(anext(stream), 5) == ": ping\n\n"

    by_itself(story)()


def test_a_lost_connection_to_postgres_counts_as_a_change(viewer: User, a_run: Runs) -> None:
    run = a_run("RUNNING")

    async def story() -> None:
        async with opened(viewer, f"run={run.pk}&list=runs") as stream:
            await next_event(stream)
            channel().deliver(Changes(is_anything=True))
            assert await next_event(stream) == ("nudge", {"run": [run.pk], "list": ["runs"]})

    by_itself(story)()


def test_one_person_does_not_take_the_streams_of_the_others(
    viewer: User, requester: User, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_stream, "MAX_CLIENTS_PER_USER", 2)

    async def story() -> None:
        async with opened(viewer, "list=runs") as one, opened(viewer, "list=runs") as two:
            assert (await next_event(one), await next_event(two)) == (("ready", {}), ("ready", {}))
            assert await status(viewer, "list=runs") == 503
            async with opened(requester, "list=runs") as other:
                assert await next_event(other) == ("ready", {})
        # Closing the response leaves its generator to the event loop.
        del one, two
        async with asyncio.timeout(5):
            while any(each.owner == str(viewer.pk) for each in channel().subscribers):
                gc.collect()
                await asyncio.sleep(0.01)
        async with opened(viewer, "list=runs") as again:
            assert await next_event(again) == ("ready", {})

    by_itself(story)()


def test_too_many_streams_are_refused(viewer: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "MAX_CLIENTS", 1)

    async def story() -> None:
        async with opened(viewer, "list=runs") as stream:
            await next_event(stream)
            assert await status(viewer, "list=runs") == 503

    by_itself(story)()


# Subscribers and the connection


def test_a_slow_client_does_not_grow_the_process() -> None:
    async def story() -> None:
        subscriber = Subscriber()
        for pk in range(broadcast.MAX_PENDING_IDS + 1):
            subscriber.put(Changes({"run": frozenset([pk])}))
        changes = await subscriber.take(1)
        assert changes == Changes({}, is_anything=True)
        assert await subscriber.take(0.01) is None

    asyncio.run(story())


def test_changes_of_one_row_are_merged() -> None:
    async def story() -> None:
        subscriber = Subscriber()
        for _ in range(5):
            subscriber.put(Changes({"run": frozenset([7])}))
        assert await subscriber.take(1) == Changes({"run": frozenset([7])})

    asyncio.run(story())


@pytest.mark.parametrize("payload", ["", "[]", "7", '{"run": 7}', '{"run": ["x"]}', "{", '"text"', "null"])
def test_an_unexpected_notification_is_ignored(payload: str) -> None:
    assert broadcast.parse(payload) == Changes()


@pytest.mark.usefixtures("db")
def test_what_postgres_announces_reaches_the_subscriber_over_one_connection() -> None:
    async def story() -> None:
        broadcaster = Broadcaster()
        first, second = broadcaster.subscribe(), broadcaster.subscribe()
        # Notifications sent before the connection was open are lost, so anything may have changed.
        assert await first.take(5) == Changes({}, is_anything=True)
        assert await second.take(5) == Changes({}, is_anything=True)
        async with await psycopg.AsyncConnection.connect(**broadcast.connection_options(), autocommit=True) as other:
            listeners = await other.execute(
                "SELECT pid FROM pg_stat_activity WHERE query = %s AND datname = current_database()",
                [f"LISTEN {CHANNEL}"],
            )
            pids = [pid for (pid,) in await listeners.fetchall()]
            assert len(pids) == 1
            await other.execute("SELECT pg_notify(%s, %s)", [CHANNEL, '{"run": [1, 2]}'])
            assert await first.take(5) == Changes({"run": frozenset([1, 2])})
            assert await second.take(5) == Changes({"run": frozenset([1, 2])})

            # A broken connection is opened again, and what was lost counts as a change of everything.
            await other.execute("SELECT pg_terminate_backend(%s)", [pids[0]])
            assert await first.take(10) == Changes({}, is_anything=True)
        broadcaster.unsubscribe(first)
        broadcaster.unsubscribe(second)
        assert not broadcaster.subscribers

    asyncio.run(story())
