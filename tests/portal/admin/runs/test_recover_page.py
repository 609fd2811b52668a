"""Putting a stalled run back, or marking it as failed, on its page and in the list."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from runs import dispatch
from runs.actors import Actor
from runs.governance import grants
from runs.models import Action, Run, Stall
from tests.portal.many_rows import many_runs
from tests.portal.page_elements import attributes, has_button, message_codes, outcomes

pytestmark = pytest.mark.django_db
Runs = Callable[..., Run]
Login = Callable[[User], Client]
LIST = reverse("admin:runs_run_changelist")


@pytest.fixture
def stalled(a_run: Runs) -> Run:
    run = a_run("PENDING")
    at = timezone.now() - timedelta(minutes=9)
    Run.objects.filter(pk=run.pk).update(state_at=at, stalled_kind=Stall.PENDING, stalled_since=at)
    run.refresh_from_db()
    return run


@pytest.fixture
def operator(requester: User) -> User:
    grants.grant(by=Actor.system(), person=requester, verbs=["force cancel"])
    return requester


def page_of(client: Client, run: Run) -> str:
    answer = client.get(reverse("admin:runs_run_change", args=[run.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize(("key", "address"), [("put-back", "put_back"), ("mark-failed", "mark_failed")])
def test_a_stalled_run_has_the_buttons_and_shows_what_was_decided(
    key: str, address: str, stalled: Run, operator: User, login: Login
) -> None:
    client = login(operator)
    assert has_button(page_of(client, stalled), key)
    answer = client.post(
        reverse(f"admin:runs_run_{address}", args=[stalled.pk]), {"reason": "worker killed"}, follow=True
    )
    assert message_codes(answer) == ["success"]
    page = page_of(client, stalled)
    assert f"recovery-{Action.objects.get().pk}" in attributes(page, "data-key")
    assert not has_button(page, "put-back")
    assert not has_button(page, "mark-failed")


def test_the_page_says_which_workers_are_online_and_what_to_do(stalled: Run, operator: User, login: Login) -> None:
    assert "why" in attributes(page_of(login(operator), stalled), "data-key")
    assert "put the run back" in page_of(login(operator), stalled)


def test_a_run_that_moves_has_no_buttons(a_run: Runs, operator: User, login: Login) -> None:
    page = page_of(login(operator), a_run("PENDING"))
    assert not has_button(page, "put-back")
    assert not has_button(page, "mark-failed")


def test_each_button_needs_its_permission(stalled: Run, requester: User, viewer: User, login: Login) -> None:
    page = page_of(login(requester), stalled)
    assert has_button(page, "put-back")
    assert not has_button(page, "mark-failed")
    assert not has_button(page_of(login(viewer), stalled), "put-back")


def test_a_refusal_is_told_with_its_code(stalled: Run, operator: User, login: Login) -> None:
    client = login(operator)
    Run.objects.update(stalled_kind="")
    answer = client.post(reverse("admin:runs_run_put_back", args=[stalled.pk]), {"reason": "r"}, follow=True)
    assert message_codes(answer) == ["run.not_stalled"]


def test_only_a_post_acts(stalled: Run, operator: User, login: Login) -> None:
    for name in ("put_back", "mark_failed"):
        assert login(operator).get(reverse(f"admin:runs_run_{name}", args=[stalled.pk])).status_code == 405


@pytest.mark.parametrize("action", ["put_back_selected", "mark_failed_selected"])
def test_selected_runs_are_recovered_and_others_say_why_not(
    action: str, stalled: Run, a_run: Runs, operator: User, deployment: Deployment, login: Login
) -> None:
    (ended,) = many_runs(deployment, 1)
    moving, client = a_run("RUNNING"), login(operator)
    body = {"action": action, "_selected_action": [stalled.pk, moving.pk, ended.pk], "index": "0"}
    asked = client.post(LIST, body).content.decode()
    assert sorted(attributes(asked, "data-why")) == ["run.finished", "run.not_stalled"]
    answer = client.post(LIST, {**body, "_selected_action": [stalled.pk], "reason": "host rebooted"}, follow=True)
    assert outcomes(answer) == ["requested"]
    recovery = Action.objects.get()
    assert (recovery.run, recovery.reason) == (stalled, "host rebooted")


def test_too_many_at_once_are_refused(deployment: Deployment, operator: User, login: Login) -> None:
    runs = many_runs(deployment, 201, state_type="PENDING", stalled_kind=Stall.PENDING)
    body = {"action": "put_back_selected", "_selected_action": [run.pk for run in runs], "index": "0", "reason": "r"}
    login(operator).post(LIST, body)
    assert not Action.objects.exists()


def test_what_came_of_it_is_on_the_page(stalled: Run, operator: User, login: Login, fake: object) -> None:
    client = login(operator)
    client.post(reverse("admin:runs_run_put_back", args=[stalled.pk]), {"reason": "r"})
    dispatch.carry_out(Action.objects.get())
    states = attributes(page_of(client, stalled), "data-state")
    assert {"overtaken", "done"} & set(states)
