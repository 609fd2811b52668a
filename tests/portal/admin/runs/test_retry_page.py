"""Retrying a failed run in place, on its page and in the list."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from runs import dispatch, mirror, requests
from runs.models import Action, ChangeRequest, Run
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, has_button, message_codes, outcomes

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


def test_a_refusal_is_told_with_its_code(failed: Run, requester: User, login: Login) -> None:
    client = login(requester)
    for code in ("success", "retry.pending"):
        answer = client.post(reverse("admin:runs_run_retry", args=[failed.pk]), follow=True)
        assert message_codes(answer) == [code]


def test_where_it_needs_an_approval_it_waits_on_a_page_of_its_own(
    failed: Run, requester: User, approver: User, viewer: User, login: Login
) -> None:
    Environment.objects.update(needs_approval=True)
    answer = login(requester).post(reverse("admin:runs_run_retry", args=[failed.pk]), {"reason": "r"}, follow=True)
    assert message_codes(answer) == ["change.waiting"]
    change = ChangeRequest.objects.latest("pk")
    page = reverse("admin:runs_changerequest_change", args=[change.pk])
    assert page in answer.content.decode()
    # 1. Who sees it, and what they can do there.
    buttons = {requester: {"withdraw"}, approver: {"approve", "reject"}, viewer: set()}
    for user, expected in buttons.items():
        shown = login(user).get(page)
        assert shown.status_code == 200
        found = attributes(shown.content.decode(), "data-key")
        assert {"approve", "reject", "withdraw"} & set(found) == expected, user
    assert page in login(approver).get(reverse("admin:runs_changerequest_changelist")).content.decode()
    # 2. It is approved there; the run is retried.
    approve = reverse("admin:runs_changerequest_approve", args=[change.pk])
    login(approver).post(approve, {"displayed_digest": change.digest})
    assert Action.objects.get().change == change
    assert login(requester).get(page).status_code == 200


def test_a_person_without_the_deployment_does_not_find_it(
    failed: Run, requester: User, stranger: User, login: Login
) -> None:
    Environment.objects.update(needs_approval=True)
    login(requester).post(reverse("admin:runs_run_retry", args=[failed.pk]), {"reason": "r"})
    change = ChangeRequest.objects.latest("pk")
    assert login(stranger).get(reverse("admin:runs_changerequest_change", args=[change.pk])).status_code == 404
    approve = reverse("admin:runs_changerequest_approve", args=[change.pk])
    assert login(stranger).post(approve, {"displayed_digest": change.digest}).status_code == 404


def test_selected_runs_that_need_an_approval_wait_each_as_a_change_request(
    failed: Run, requester: User, login: Login
) -> None:
    Environment.objects.update(needs_approval=True)
    body = {"action": "retry_selected", "_selected_action": [failed.pk], "index": "0", "reason": "r"}
    assert outcomes(login(requester).post(LIST, body, follow=True)) == ["needs approval"]
    assert ChangeRequest.objects.filter(kind="retry").count() == 1


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
    assert sorted(outcomes(answer)) == ["requested", "retry.external", "retry.not_failed"]
    assert Action.objects.get().run == failed
