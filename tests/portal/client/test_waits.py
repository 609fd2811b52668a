"""Waiting for requests, and following logs. Each pause plays what happens meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from portal.client import LogLine, Portal, StillRunning, Unreachable
from runs import mirror, tasks
from runs.models import Run, TokenScope
from tests.fakes.prefect import FakePrefect
from tests.portal.api.programs import Programs
from tests.portal.client.in_process import ADDRESS, Portals
from tests.portal.client.played_runs import play

pytestmark = pytest.mark.django_db
NAME, VALUES = "monthly/monthly", {"month": "2026-10"}


def at_the_first_pause(monkeypatch: pytest.MonkeyPatch, act: Callable[[], Any]) -> None:
    left = [act]
    monkeypatch.setattr(time, "sleep", lambda seconds: left.pop()() if left else None)


@pytest.mark.parametrize("state", ["COMPLETED", "FAILED"])
def test_a_run_is_waited_for_with_its_log(
    requester: User,
    deployment: Deployment,
    fake: FakePrefect,
    portal: Portals,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
) -> None:
    client = portal(requester)
    change = client.run("dev", NAME, VALUES)
    lines: list[LogLine] = []
    at_the_first_pause(monkeypatch, lambda: play(change.requests[0].id, fake, state, "one", "two"))
    ended = client.wait(change, on_log=lines.append)
    assert ended.requests[0].state == state.lower()
    assert [each.message for each in lines] == ["one", "two"]
    assert client.wait(ended.requests[0]).run_state == state


def test_a_change_request_that_is_closed_goes_on_until_its_run_has_ended(
    requester: User, deployment: Deployment, fake: FakePrefect, portal: Portals, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = portal(requester)
    change = client.run("dev", NAME, VALUES)
    number = change.requests[0].id
    states: list[str] = []

    def launch() -> None:
        tasks.launch(number)
        tasks.advance_changes()
        states.append(client.change(change.id).state)

    left = [lambda: play(number, fake, "COMPLETED"), launch]
    monkeypatch.setattr(time, "sleep", lambda seconds: left.pop()() if left else None)
    assert client.wait(change).requests[0].run_state == "COMPLETED"
    assert states == ["closed"]


def test_the_log_of_a_run_that_is_not_known_yet_is_read_later(
    requester: User, deployment: Deployment, fake: FakePrefect, portal: Portals, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = portal(requester)
    change = client.run("dev", NAME, VALUES)
    number, known = change.requests[0].id, Run.objects.count()
    lines: list[LogLine] = []

    def launch() -> None:
        tasks.launch(number)
        assert client.request(number).run
        assert Run.objects.count() == known

    left = [lambda: play(number, fake, "COMPLETED", "one"), launch]
    monkeypatch.setattr(time, "sleep", lambda seconds: left.pop()() if left else None)
    assert client.wait(change, on_log=lines.append).requests[0].run_state == "COMPLETED"
    assert [each.message for each in lines] == ["one"]


def test_after_the_timeout_it_says_that_it_waits_for_approval(
    requester: User, prod_deployment: Deployment, portal: Portals
) -> None:
    client = portal(requester)
    change = client.run("prod", NAME, VALUES, reason="Month end")
    with pytest.raises(StillRunning, match="waits for approval") as raised:
        client.wait(change, timeout=0)
    assert raised.value.last.state == "waiting"
    with pytest.raises(StillRunning):
        client.wait(change.requests[0], timeout=0)


def test_a_rejected_request_has_ended(
    requester: User, approver: User, prod_deployment: Deployment, portal: Portals, monkeypatch: pytest.MonkeyPatch
) -> None:
    change = portal(requester).run("prod", NAME, VALUES, reason="Month end")
    at_the_first_pause(monkeypatch, lambda: portal(approver).reject(change.id, "no"))
    assert portal(requester).wait(change).state == "rejected"


def test_without_permission_for_the_log_the_result_is_waited_for(
    requester: User, deployment: Deployment, fake: FakePrefect, portal: Portals, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = portal(requester, TokenScope(verbs=["see", "trigger"]))
    change = client.run("dev", NAME, VALUES)
    lines: list[LogLine] = []
    at_the_first_pause(monkeypatch, lambda: play(change.requests[0].id, fake, "COMPLETED", "one"))
    assert client.wait(change, on_log=lines.append).requests[0].state == "completed"
    assert not lines


def test_a_restart_of_the_portal_does_not_end_the_wait(
    requester: User, deployment: Deployment, fake: FakePrefect, program: Programs, transport: httpx.MockTransport
) -> None:
    down = 0

    def flaky(request: httpx.Request) -> httpx.Response:
        nonlocal down
        if down:
            down -= 1
            raise httpx.ConnectError("refused", request=request)
        return transport.handle_request(request)

    client = Portal(ADDRESS, program(requester).text, transport=httpx.MockTransport(flaky))
    change = client.run("dev", NAME, VALUES)
    play(change.requests[0].id, fake, "COMPLETED")
    down = 12
    assert client.wait(change).requests[0].state == "completed"
    down = 1000
    with pytest.raises(Unreachable):
        client.wait(change, timeout=0)


def test_a_log_is_followed_to_the_end_without_repetition(
    requester: User,
    a_run: Callable[..., Run],
    fake: FakePrefect,
    portal: Portals,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = a_run()

    def add(*lines: str) -> None:
        for line in lines:
            fake.add_log(row.prefect_id, line)
        mirror.fetch_details(row.environment, [row.prefect_id])

    def end() -> None:
        add("two", "two", "three")
        fake.set_state(row.prefect_id, "COMPLETED")
        mirror.refresh(row.environment, [row.prefect_id])

    add("one")
    at_the_first_pause(monkeypatch, end)
    messages = [each.message for each in portal(requester).logs(row.name, follow=True)]
    assert messages == ["one", "two", "two", "three"]


def test_a_cancellation_is_waited_for(requester: User, a_run: Callable[..., Run], portal: Portals) -> None:
    client, row = portal(requester), a_run()
    action = client.cancel(row.name, "Wrong month")
    with pytest.raises(StillRunning):
        client.wait(action, timeout=0)
