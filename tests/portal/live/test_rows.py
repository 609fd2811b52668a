"""Rows of lists, sent as they change: to whom, with which filters, and rendered how often."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import urlencode

import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from portal.lists.reader_cells import MARK
from portal.live import stream as live_stream
from portal.live.broadcast import connection_options
from runs import requests, tasks
from runs.actors import Actor
from runs.change_feed import CHANNEL
from runs.governance import grants
from runs.models import Grant, Run, RunRequest
from tests.cast import by
from tests.portal.live.streams import by_itself, channel, next_event, nothing, opened, publish, status
from tests.portal.many_rows import many_runs

Login = Callable[[User], Client]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_stream, "PACE_SECONDS", 0.0)
    monkeypatch.setattr(live_stream, "PACE_OF_LISTS_SECONDS", 0.0)


def shows(query: str = "", name: str = "runs") -> str:
    return urlencode({"list": name, "shows": query})


def see(person: User, environment: Environment) -> Grant:
    return grants.grant(by=Actor.system(), person=person, verbs=["see"], environment=environment)


def test_a_changed_row_is_sent_as_the_page_renders_it(viewer: User, deployment: Deployment, login: Login) -> None:
    (run,) = many_runs(deployment, 1, name="<brave> otter", state_type="RUNNING")

    async def story() -> None:
        async with opened(viewer, shows()) as stream:
            await next_event(stream)
            publish(run=run.pk)
            name, data = await next_event(stream)
            assert (name, data["gone"], [row["key"] for row in data["rows"]]) == ("rows", [], [run.pk])
            assert "&lt;brave&gt; otter" in data["rows"][0]["html"]
            assert ">Running<" in data["rows"][0]["html"]
            assert f'data-at="{run.created_upstream_at.isoformat()}"' in data["rows"][0]["html"]

    by_itself(story)()
    page = login(viewer).get("/admin/runs/run/").content.decode()
    assert f'data-key="{run.pk}"' in page
    assert 'data-live-rows="list=runs&amp;shows="' in page


def test_nothing_is_sent_of_a_row_that_the_reader_does_not_see(
    viewer: User, stranger: User, deployment: Deployment, prod_deployment: Deployment
) -> None:
    (hidden,) = many_runs(prod_deployment, 1)
    see(stranger, prod_deployment.environment)

    async def story() -> None:
        # Another reader sees it, so it is kept.
        async with opened(stranger, shows()) as stream:
            await next_event(stream)
            publish(run=hidden.pk)
            assert (await next_event(stream))[0] == "rows"
        for query in ("", "state=FAILED"):
            async with opened(viewer, shows(query)) as stream:
                await next_event(stream)
                publish(run=hidden.pk)
                assert await nothing(stream)

    by_itself(story)()


def test_a_row_that_leaves_the_filters_is_taken_away(viewer: User, deployment: Deployment) -> None:
    (run,) = many_runs(deployment, 1, state_type="RUNNING")

    async def story() -> None:
        async with opened(viewer, shows("state=active")) as stream, opened(viewer, shows("q=completed")) as other:
            await next_event(stream)
            await next_event(other)
            publish(run=run.pk)
            assert [row["key"] for row in (await next_event(stream))[1]["rows"]] == [run.pk]
            assert (await next_event(other))[1] == {"rows": [], "gone": [run.pk]}
            await sync_to_async(Run.objects.filter(pk=run.pk).update)(state_type="COMPLETED")
            publish(run=run.pk)
            assert (await next_event(stream))[1] == {"rows": [], "gone": [run.pk]}
            assert ">Completed<" in (await next_event(other))[1]["rows"][0]["html"]

    by_itself(story)()


def test_a_row_is_rendered_once_for_all_readers(viewer: User, requester: User, deployment: Deployment) -> None:
    (run,) = many_runs(deployment, 1)

    async def story() -> None:
        async with opened(viewer, shows()) as stream, opened(requester, shows("environment=dev")) as other:
            await next_event(stream)
            await next_event(other)
            publish(run=run.pk)
            await next_event(stream)
            kept = channel().rows["runs"].rows[run.pk]
            await next_event(other)
            assert channel().rows["runs"].rows[run.pk] is kept

    by_itself(story)()


def test_parameters_are_sent_to_those_who_may_view_them(
    requester: User, stranger: User, deployment: Deployment, login: Login
) -> None:
    (run,) = many_runs(deployment, 1, parameters={"month": "2031-07", "rows": 100})
    see(stranger, deployment.environment)

    async def story() -> None:
        async with opened(requester, shows()) as stream, opened(stranger, shows()) as other:
            await next_event(stream)
            await next_event(other)
            publish(run=run.pk)
            sent, hidden = [(await next_event(each))[1]["rows"][0]["html"] for each in (stream, other)]
            # What is at its default says nothing.
            assert "month: 2031-07<" in sent
            assert "2031-07" not in hidden
            assert MARK not in sent + hidden

    by_itself(story)()
    # Pages show the same.
    address = reverse("admin:runs_run_changelist")
    assert "month: 2031-07<" in login(requester).get(address).content.decode()
    assert "2031-07" not in login(stranger).get(address).content.decode()


def test_permissions_are_read_once_and_again_after_a_change(viewer: User, deployment: Deployment) -> None:
    run, other = many_runs(deployment, 2)

    async def story() -> None:
        async with opened(viewer, shows()) as stream:
            await next_event(stream)
            publish(run=run.pk)
            await next_event(stream)
            kept = channel().rights.known(viewer.pk)
            assert kept is not None
            publish(run=other.pk)
            await next_event(stream)
            assert channel().rights.known(viewer.pk) is kept
            publish(rights=0)
            assert channel().rights.known(viewer.pk) is None
            # The page requests itself again: rows that were hidden may be visible now.
            assert await next_event(stream) == ("nudge", {"list": ["runs"]})

    by_itself(story)()


def test_a_reader_who_loses_everything_is_sent_nothing_more(viewer: User, deployment: Deployment) -> None:
    (run,) = many_runs(deployment, 1)

    async def story() -> None:
        async with opened(viewer, shows()) as stream:
            await next_event(stream)
            publish(run=run.pk)
            await next_event(stream)
            await sync_to_async(Grant.objects.all().delete)()
            publish(rights=0)
            publish(run=run.pk)
            assert await next_event(stream) == ("end", {})

    by_itself(story)()


def test_many_changes_at_once_are_one_word(
    viewer: User, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_stream, "MAX_ROWS_SENT", 2)
    runs = many_runs(deployment, 3)

    async def story() -> None:
        async with opened(viewer, shows()) as stream:
            await next_event(stream)
            for run in runs:
                publish(run=run.pk)
            assert await next_event(stream) == ("nudge", {"list": ["runs"]})

    by_itself(story)()


@pytest.mark.parametrize(
    "query",
    [
        # These depend on the reader.
        shows("parameter=month=2026-01"),
        shows("o=8"),
        shows("parameters__startswith=x"),
        shows("q=" + "x " * 50),
        shows("q=" + "x" * 3000),
        urlencode({"list": "requests", "shows": "whose=mine"}),
        urlencode({"list": "deployments", "shows": "tag=crm"}),
        urlencode({"list": "failures", "shows": ""}),
        urlencode({"list": ["runs", "requests"], "shows": ""}, doseq=True),
        urlencode({"shows": ""}),
        urlencode({"list": "runs", "shows": "", "run": 1}),
    ],
)
def test_rows_are_sent_for_known_filters_only(viewer: User, deployment: Deployment, query: str) -> None:
    many_runs(deployment, 1)

    async def story() -> None:
        assert await status(viewer, query) == 404

    by_itself(story)()


def test_a_request_is_sent_when_it_or_its_run_changes(
    viewer: User, requester: User, deployment: Deployment, login: Login
) -> None:
    run_request = requests.submit(deployment, {"month": "2026-01"}, by=by(requester))
    run, other = many_runs(deployment, 2, state_type="RUNNING")
    tasks.launch(run_request.pk)

    async def story() -> None:
        async with opened(viewer, shows(name="requests")) as stream:
            await next_event(stream)
            # 1. A run is no request's, and becomes one's.
            publish(run=run.pk)
            publish(run=other.pk)
            publish(request=run_request.pk)
            assert ">Launched<" in (await next_event(stream))[1]["rows"][0]["html"]
            await sync_to_async(RunRequest.objects.filter(pk=run_request.pk).update)(run=run)
            publish(request=run_request.pk)
            assert ">Running<" in (await next_event(stream))[1]["rows"][0]["html"]
            # 2. From then on it changes with its run.
            await sync_to_async(Run.objects.filter(pk=run.pk).update)(state_type="CANCELLING")
            publish(run=run.pk)
            name, data = await next_event(stream)
            assert (name, [row["key"] for row in data["rows"]]) == ("rows", [run_request.pk])
            assert ">Cancelling<" in data["rows"][0]["html"]
            publish(run=other.pk)
            assert await nothing(stream)

    by_itself(story)()
    page = login(viewer).get("/admin/runs/runrequest/").content.decode()
    assert 'data-live-rows="list=requests&amp;shows="' in page
    assert "data-live-rows" not in login(requester).get("/admin/runs/runrequest/?whose=mine").content.decode()


def test_a_deployment_is_sent_with_its_last_run_and_without_what_depends_on_the_reader(
    viewer: User, stranger: User, requester: User, deployment: Deployment, prod_deployment: Deployment, login: Login
) -> None:
    (run,), (hidden,) = many_runs(deployment, 1, state_type="RUNNING"), many_runs(prod_deployment, 1)
    see(stranger, prod_deployment.environment)
    run_form = reverse("admin:flows_deployment_run", args=[deployment.pk])

    async def story() -> None:
        async with opened(requester, shows(name="deployments")) as stream:
            await next_event(stream)
            publish(run=run.pk)
            ((row,), gone) = (await next_event(stream))[1].values()
            assert (row["key"], gone) == (deployment.pk, [])
            assert ">Running<" in row["html"]
            assert "data-live-own" in row["html"]
            assert run_form not in row["html"]
            await sync_to_async(Run.objects.filter(pk=run.pk).update)(state_type="COMPLETED")
            publish(run=run.pk)
            assert ">Completed<" in (await next_event(stream))[1]["rows"][0]["html"]
        async with opened(viewer, shows(name="deployments")) as stream:
            await next_event(stream)
            publish(run=hidden.pk)
            assert await nothing(stream)

    by_itself(story)()
    page = login(requester).get("/admin/flows/deployment/").content.decode()
    assert 'data-live-rows="list=deployments&amp;shows=" data-live-partial' in page
    assert run_form in page
    assert "data-live-own" not in page


@pytest.mark.parametrize("query", ["o=8", "parameter=month=2026-01"])
def test_a_page_in_another_order_asks_for_no_rows(
    viewer: User, deployment: Deployment, login: Login, query: str
) -> None:
    many_runs(deployment, 1)
    page = login(viewer).get(f"/admin/runs/run/?{query}").content.decode()
    assert "data-live-rows" not in page


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs_grant SET revoked_at = now()",
        "UPDATE auth_user SET is_active = false",
        # It ends the sessions.
        "UPDATE auth_user SET password = ''",
        "DELETE FROM auth_user_groups",
        "UPDATE flows_environment SET is_protected = true",
    ],
)
def test_the_database_announces_what_decides_about_rights(db: None, statement: str) -> None:
    # In sessions that commit; a statement that finds no row is announced too.
    with (
        psycopg.connect(**connection_options(), autocommit=True) as listener,
        psycopg.connect(**connection_options(), autocommit=True) as other,
    ):
        listener.execute(f"LISTEN {CHANNEL}")
        other.execute(f"{statement} WHERE false")
        announced = next(listener.notifies(timeout=5))
    assert json.loads(announced.payload) == {"rights": [0]}
