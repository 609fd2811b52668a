"""The top of the page of a run: how long it usually takes, why it failed, what can be done; and its activity."""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment
from portal.admin.runs import headline, task_table
from runs import changes, requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import LogLine, Run, RunRequest, StateChange, TaskRun
from tests.cast import by, person
from tests.fakes.prefect import FakePrefect
from tests.portal.many_rows import many_runs

Login = Callable[[User], Client]
MakeRun = Callable[..., Run]
SECRET = "what the task worked on"


def text(client: Client, run: Run) -> str:
    answer = client.get(f"/admin/runs/run/{run.pk}/change/")
    assert answer.status_code == 200
    return answer.content.decode()


def region(page: str, name: str) -> str:
    return page.partition(f'data-live="{name}"')[2].partition("data-live=")[0]


# Longer than what is read of a line: what happened is at its end.
TRACEBACK = "Traceback\n" + "  File x\n" * 500 + "KeyError: 'price'"


@pytest.fixture
def failed(deployment: Deployment) -> Run:
    """A run whose second task failed, with two errors in its log."""
    (run,) = many_runs(
        deployment, 1, state_type="FAILED", state_message="Flow run encountered an exception: 1/2 states"
    )
    now = timezone.now()
    for name, state in (("fine-0", "COMPLETED"), ("broken-0", "FAILED")):
        message = f"Task run encountered an exception ValueError: {SECRET}" if state == "FAILED" else ""
        TaskRun.objects.create(
            run=run, prefect_id=uuid4(), name=name, state_type=state, message=message, started_at=now, ended_at=now
        )
    for after, line in enumerate((TRACEBACK, "Finished in state Failed()")):
        LogLine.objects.create(run=run, prefect_id=uuid4(), at=now + timedelta(seconds=after), level=40, message=line)
    return run


# How long it takes


def test_the_usual_duration_stands_beside_the_one_so_far(
    viewer: User, deployment: Deployment, a_run: MakeRun, login: Login
) -> None:
    many_runs(deployment, 20, run_seconds=120.0)
    client = login(viewer)
    for run, is_overrun in ((a_run("RUNNING"), False), (a_run("COMPLETED"), False)):
        top = region(text(client, run), "headline")
        assert "usually 2 min, p95 2 min" in top
        assert ('data-key="overrun"' in top) is is_overrun


@pytest.mark.parametrize(
    ("minutes", "state", "is_overrun"), [(1, "RUNNING", False), (9, "RUNNING", True), (9, "FAILED", False)]
)
def test_a_run_that_takes_longer_than_almost_all_is_an_overrun(
    minutes: int, state: str, is_overrun: bool, viewer: User, deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 20, run_seconds=120.0)
    started = timezone.now() - timedelta(minutes=minutes)
    (run,) = many_runs(deployment, 1, state_type=state, started_at=started, run_seconds=540.0)
    assert ('data-key="overrun"' in region(text(login(viewer), run), "headline")) is is_overrun


def test_without_runs_before_it_nothing_is_usual(viewer: User, a_run: MakeRun, login: Login) -> None:
    assert "usually" not in region(text(login(viewer), a_run("RUNNING")), "headline")


# Why it failed


def test_a_failed_run_names_its_task_its_last_error_and_how_often(viewer: User, failed: Run, login: Login) -> None:
    client = login(viewer)
    why = region(text(client, failed), "sentence")
    task = failed.task_runs.get(name="broken-0")
    assert f'<a href="?task={task.prefect_id}#log">broken-0</a>. ValueError: {SECRET}' in why
    # The last line of the traceback, not the state in which it ended.
    assert "KeyError: &#x27;price&#x27;" in why
    line = LogLine.objects.get(message__startswith="Traceback").pk
    assert f'href="?line={line}#line-{line}"' in why


def test_the_number_of_failures_is_that_of_the_list(
    viewer: User, failed: Run, deployment: Deployment, login: Login
) -> None:
    many_runs(deployment, 2, state_type="CRASHED")
    many_runs(deployment, 3)
    many_runs(deployment, 4, state_type="FAILED", created_upstream_at=timezone.now() - timedelta(days=9))
    client = login(viewer)
    why = region(text(client, failed), "sentence")
    ((address, words),) = re.findall(r'<a href="([^"]+)" data-key="failures">([^<]+)</a>', why)
    assert words == "3 failed this week"
    listed = client.get(html.unescape(address)).content.decode()
    assert listed.count('class="field-title') == 3


def test_without_the_log_neither_messages_nor_lines_are_shown(failed: Run, login: Login) -> None:
    limited = person("limited")
    grants.grant(by=Actor.system(), person=limited, verbs=["see"])
    page = text(login(limited), failed)
    why = region(page, "sentence")
    assert "broken-0" in why
    for hidden in (SECRET, "KeyError", "?line=", "?task="):
        assert hidden not in page


def test_a_run_that_did_not_fail_has_no_such_lines(viewer: User, a_run: MakeRun, login: Login) -> None:
    page = text(login(viewer), a_run("COMPLETED"))
    assert 'data-key="failures"' not in page
    assert 'data-key="failed-task"' not in page


@pytest.mark.parametrize(
    ("message", "words"),
    [("one line", "one line."), ("a\nb\n\n", "b."), ("", ""), ("\n \n", ""), ("x" * 2000, None)],
)
def test_the_last_words_of_a_message(message: str, words: str | None) -> None:
    found = headline.last_words(message)
    assert found == words if words is not None else len(found) < 310


def test_a_class_that_its_message_begins_with_stands_once() -> None:
    assert task_table.explain("Task run encountered an exception Stopped: Stopped at 50%") == "Stopped at 50%."
    assert task_table.explain("Task run encountered an exception ValueError: no price") == "ValueError: no price."


# What can be done


def test_what_is_rare_is_in_the_menu(requester: User, a_run: MakeRun, login: Login) -> None:
    buttons = region(text(login(requester), a_run("RUNNING")), "buttons")
    outside, _, menu = buttons.partition('<details class="portal-menu"')
    assert 'data-key="cancel"' in outside
    assert "/refresh/" in menu
    assert "/refresh/" not in outside


# Activity


def test_states_actions_and_approvals_are_one_timeline(
    requester: User, approver: User, prod_deployment: Deployment, login: Login
) -> None:
    run_request = requests.submit(prod_deployment, {"month": "2026-01"}, by=by(requester), reason="Month end")
    changes.approve(run_request.change, by=by(approver), reason="Looks right")
    later = timezone.now() + timedelta(minutes=1)
    (run,) = many_runs(prod_deployment, 1, state_type="RUNNING")
    StateChange.objects.create(run=run, prefect_id=uuid4(), type="RUNNING", name="Running", at=later)
    RunRequest.objects.filter(pk=run_request.pk).update(run=run)
    requests.cancel(run, by=by(requester), reason="Wrong month")
    activity = region(text(login(requester), run), "activity")
    keys = [key.partition("-")[0] for key in re.findall(r'data-key="([^"]+)"', activity)]
    assert keys[0] == "state"
    assert {*keys} == {"state", "action", "approval", "request"}
    for piece in ("Month end", "Looks right", "Wrong month", "by requester", "by approver"):
        assert piece in activity


def test_every_part_has_a_link_and_a_place(viewer: User, a_run: MakeRun, fake: FakePrefect, login: Login) -> None:
    page = text(login(viewer), a_run("RUNNING"))
    parts = re.findall(r'<a href="#(\w+)">', region(page, "tabs"))
    assert parts == ["log", "tasks", "graph", "artifacts", "parameters", "activity"]
    assert all(page.count(f'id="{part}"') == 1 for part in parts)
