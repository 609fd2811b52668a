"""Retrying a failed run in place, on its page and in the list."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from runs import dispatch, mirror, requests
from runs.models import Action, Run
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, has_button, message_codes

pytestmark = pytest.mark.django_db
Login = Callable[[User], Client]
LIST = reverse("admin:runs_run_changelist")


@pytest.fixture
def failed(deployment: Deployment, fake: FakePrefect, requester: User) -> Run:
    run_request = requests.submit(deployment, {"month": "2026-10"}, by=by(requester))
    dispatch.launch(run_request)
    run_request.refresh_from_db()
    assert run_request.flow_run_id is not None
    fake.set_state(run_request.flow_run_id, "FAILED")
    mirror.refresh(deployment.environment, [run_request.flow_run_id])
    return Run.objects.get()


def page_of(client: Client, run: Run) -> str:
    answer = client.get(reverse("admin:runs_run_change", args=[run.pk]))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_failed_run_has_the_button_and_shows_what_came_of_it(failed: Run, requester: User, login: Login) -> None:
    client = login(requester)
    assert has_button(page_of(client, failed), "retry")
    address = reverse("admin:runs_run_retry", args=[failed.pk])
    answer = client.post(address, {"reason": "source is back"}, follow=True)
    assert message_codes(answer) == ["success"]
    action = Action.objects.get()
    page = page_of(client, failed)
    assert f"recovery-{action.pk}" in attributes(page, "data-key")
    assert not has_button(page, "retry")
    dispatch.carry_out(action)
    assert "AwaitingRetry" in page_of(client, failed)


def test_the_button_is_only_where_it_can_be_done(
    failed: Run, a_run: Callable[..., Run], requester: User, viewer: User, login: Login
) -> None:
    assert not has_button(page_of(login(viewer), failed), "retry")
    client = login(requester)
    for outside in ("FAILED", "COMPLETED", "RUNNING"):
        assert not has_button(page_of(client, a_run(outside)), "retry")
    Environment.objects.update(needs_approval=True)
    assert not has_button(page_of(client, failed), "retry")


def test_a_refusal_is_told_with_its_code(failed: Run, requester: User, login: Login) -> None:
    Environment.objects.update(needs_approval=True)
    answer = login(requester).post(reverse("admin:runs_run_retry", args=[failed.pk]), follow=True)
    assert message_codes(answer) == ["retry.needs_approval"]


def test_only_a_post_acts(failed: Run, requester: User, login: Login) -> None:
    assert login(requester).get(reverse("admin:runs_run_retry", args=[failed.pk])).status_code == 405


def test_selected_runs_are_retried_each_with_its_result(
    failed: Run, a_run: Callable[..., Run], requester: User, login: Login
) -> None:
    outside, moving, client = a_run("FAILED"), a_run("RUNNING"), login(requester)
    body = {"action": "retry_selected", "_selected_action": [failed.pk, outside.pk, moving.pk], "index": "0"}
    asked = client.post(LIST, body).content.decode()
    assert sorted(attributes(asked, "data-why")) == ["retry.external", "retry.not_failed"]
    assert not Action.objects.exists()
    answer = client.post(LIST, {**body, "reason": "source is back"}, follow=True)
    assert sorted(message_codes(answer)) == ["retry.external", "retry.not_failed", "success"]
    assert Action.objects.get().run == failed
