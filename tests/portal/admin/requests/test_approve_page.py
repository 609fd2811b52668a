"""Approving and rejecting a request on its page: what the approver sees, and what stops the requester."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import requests
from runs.actors import Actor
from runs.governance import grants
from runs.models import Approval, AuditEntry, ChangeRequest, RunRequest
from tests.background import queued_tasks
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.portal.page_elements import attributes, has_button, message_codes

Login = Callable[[User], Client]
State = RunRequest.State


def address(run_request: RunRequest, path: str = "change/") -> str:
    return f"/admin/runs/runrequest/{run_request.pk}/{path}"


def text(client: Client, run_request: RunRequest) -> str:
    answer = client.get(address(run_request))
    assert answer.status_code == 200
    return answer.content.decode()


def press(client: Client, run_request: RunRequest, path: str, reason: str = "") -> Any:
    answer = client.post(
        address(run_request, path), {"reason": reason, "displayed_digest": run_request.change.digest}, follow=True
    )
    assert answer.status_code == 200
    run_request.refresh_from_db()
    return answer


@pytest.fixture
def waiting(requester: User, prod_deployment: Deployment) -> RunRequest:
    return requests.submit(prod_deployment, {"month": "2026-01", "rows": 7}, by=by(requester), reason="Month end")


def test_the_approver_sees_what_will_run_and_how_it_differs(approver: User, waiting: RunRequest, login: Login) -> None:
    page = " ".join(text(login(approver), waiting).split())
    assert has_button(page, "approve")
    assert has_button(page, "reject")
    assert waiting.change.digest in page
    assert "Month end" in page
    assert (
        '<tr class="is-different"> <td><span class="portal-code">rows</span></td> <td><span class="portal-code">7<'
        in page
    )
    assert '<td data-tone="amber" data-label="Default" data-differs><span class="portal-code">100</span></td>' in page


def test_approving_sends_it_on_its_way(approver: User, waiting: RunRequest, login: Login) -> None:
    answer = press(login(approver), waiting, "approve/", "Looks right")
    page = answer.content.decode()
    assert message_codes(answer) == ["success"]
    assert waiting.state == State.APPROVED
    approval = Approval.objects.get()
    assert (approval.by, approval.digest, approval.reason) == (approver, waiting.change.digest, "Looks right")
    assert not has_button(page, "approve")
    assert queued_tasks() == ["runs.tasks.launch"]
    assert "Looks right" in page


def test_rejecting_needs_a_reason_and_closes_it(approver: User, waiting: RunRequest, login: Login) -> None:
    client = login(approver)
    assert message_codes(press(client, waiting, "reject/", "  ")) == ["rejection.reason_required"]
    assert waiting.state == State.HELD
    page = press(client, waiting, "reject/", "Freeze until Monday").content.decode()
    assert waiting.state == State.REJECTED
    assert "Freeze until Monday" in page
    assert queued_tasks() == []


def test_the_requester_has_no_such_button_and_is_refused(
    requester: User, waiting: RunRequest, prod: Environment, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["approve"], environment=prod)
    client = login(requester)
    page = text(client, waiting)
    assert not has_button(page, "approve")
    assert not has_button(page, "reject")
    for path in ("approve/", "reject/"):
        assert message_codes(press(client, waiting, path, "Mine")) == ["approval.own"]
    assert waiting.state == State.HELD
    assert set(AuditEntry.objects.filter(verb__startswith="request.").values_list("verb", "outcome")) == {
        ("request.submit", "done"),
        ("request.approve", "refused"),
        ("request.reject", "refused"),
    }


def test_people_without_the_permission_see_why_and_get_403(auditor: User, waiting: RunRequest, login: Login) -> None:
    grants.grant(by=Actor.system(), person=auditor, verbs=["see"], environment=waiting.environment)
    client = login(auditor)
    page = text(client, waiting)
    assert not has_button(page, "approve")
    assert attributes(page, "data-why") == ["access.no_grant"]
    for path in ("approve/", "reject/"):
        assert client.post(address(waiting, path), {"reason": "x"}).status_code == 403
    waiting.refresh_from_db()
    assert waiting.state == State.HELD


def test_it_names_who_can_approve(requester: User, approver: User, waiting: RunRequest, login: Login) -> None:
    assert attributes(text(login(requester), waiting), "data-approvers") == ["approver"]


def test_a_superuser_is_not_above_four_eyes(admin_user: User, waiting: RunRequest, login: Login) -> None:
    assert login(admin_user).post(address(waiting, "approve/")).status_code == 403


def test_a_second_decision_is_too_late(approver: User, waiting: RunRequest, login: Login) -> None:
    client = login(approver)
    press(client, waiting, "approve/")
    assert message_codes(press(client, waiting, "reject/", "Changed my mind")) == ["state.illegal"]
    assert waiting.state == State.APPROVED
    assert Approval.objects.count() == 1


def test_an_expired_request_has_no_buttons(approver: User, waiting: RunRequest, login: Login) -> None:
    ChangeRequest.objects.update(expires_at=timezone.now())
    client = login(approver)
    page = text(client, waiting)
    assert not has_button(page, "approve")
    assert attributes(page, "data-why") == ["request.expired"]
    assert message_codes(press(client, waiting, "approve/")) == ["request.expired"]


def test_a_deployment_that_changed_meanwhile_is_shown_before_it_is_approved(
    approver: User, waiting: RunRequest, login: Login
) -> None:
    Deployment.objects.update(schema_fingerprint="0" * 64, definition_fingerprint="1" * 64)
    page = text(login(approver), waiting)
    keys = attributes(page, "data-key")
    assert {"warning-schema.changed", "warning-definition.changed"} <= set(keys)


def test_a_hostile_remark_is_only_text(approver: User, waiting: RunRequest, login: Login) -> None:
    page = press(login(approver), waiting, "reject/", "<script>alert(1)</script>\x00").content.decode()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_no_approval_waits_for_prefect(
    approver: User, waiting: RunRequest, prod_fake: FakePrefect, login: Login
) -> None:
    before = len(prod_fake.calls)
    press(login(approver), waiting, "approve/")
    assert len(prod_fake.calls) == before
