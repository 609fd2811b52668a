"""Answering a request from its page: what the approver sees, and what keeps the requester from it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from django_q.models import OrmQ

from flows.models import Deployment, Environment
from runs import requests
from runs.access.decisions import decide
from runs.actors import Actor
from runs.governance import grants
from runs.models import Approval, AuditEntry, RunRequest, Verb
from tests.cast import by
from tests.fakes.prefect import FakePrefect

Login = Callable[[User], Client]
State = RunRequest.State


def address(run_request: RunRequest, door: str = "change/") -> str:
    return f"/admin/runs/runrequest/{run_request.pk}/{door}"


def text(client: Client, run_request: RunRequest) -> str:
    answer = client.get(address(run_request))
    assert answer.status_code == 200
    return answer.content.decode()


def press(client: Client, run_request: RunRequest, door: str, reason: str = "") -> str:
    answer = client.post(
        address(run_request, door), {"reason": reason, "displayed_digest": run_request.digest}, follow=True
    )
    assert answer.status_code == 200
    run_request.refresh_from_db()
    return answer.content.decode()


@pytest.fixture
def waiting(requester: User, prod_deployment: Deployment) -> RunRequest:
    return requests.submit(prod_deployment, {"month": "2026-01", "rows": 7}, by=by(requester), reason="Month end")


def test_the_approver_sees_what_will_run_and_how_it_differs(approver: User, waiting: RunRequest, login: Login) -> None:
    page = " ".join(text(login(approver), waiting).split())
    assert "Approve …" in page
    assert "Reject …" in page
    assert waiting.digest in page
    assert "Month end" in page
    assert (
        '<tr class="is-different"> <td><span class="portal-code">rows</span></td> <td><span class="portal-code">7<'
        in page
    )
    assert '<td data-label="Default"><span class="portal-code">100</span></td>' in page


def test_approving_sends_it_on_its_way(approver: User, waiting: RunRequest, login: Login) -> None:
    page = press(login(approver), waiting, "approve/", "Looks right")
    assert "Approved: it is on its way to Prefect." in page
    assert waiting.state == State.APPROVED
    approval = Approval.objects.get()
    assert (approval.by, approval.digest, approval.reason) == (approver, waiting.digest, "Looks right")
    assert "Approve …" not in page
    assert [task.task["func"] for task in OrmQ.objects.all()] == ["runs.tasks.launch"]
    assert "Looks right" in page


def test_rejecting_needs_a_reason_and_closes_it(approver: User, waiting: RunRequest, login: Login) -> None:
    client = login(approver)
    assert "Give a reason for the rejection" in press(client, waiting, "reject/", "  ")
    assert waiting.state == State.WAITING
    page = press(client, waiting, "reject/", "Freeze until Monday")
    assert waiting.state == State.REJECTED
    assert "Freeze until Monday" in page
    assert not OrmQ.objects.exists()


def test_the_asker_has_no_such_button_and_cannot_press_it(
    requester: User, waiting: RunRequest, prod: Environment, login: Login
) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["approve"], environment=prod)
    client = login(requester)
    page = text(client, waiting)
    assert "Approve …" not in page
    assert "Somebody other than its requester has to approve it" in page
    for door in ("approve/", "reject/"):
        assert "You cannot approve or reject your own request" in press(client, waiting, door, "Mine")
    assert waiting.state == State.WAITING
    assert set(AuditEntry.objects.filter(verb__startswith="request.").values_list("verb", "outcome")) == {
        ("request.submit", "done"),
        ("request.approve", "refused"),
        ("request.reject", "refused"),
    }


def test_who_may_see_but_not_approve_is_told_why_and_gets_403(auditor: User, waiting: RunRequest, login: Login) -> None:
    grants.grant(by=Actor.system(), person=auditor, verbs=["see"], environment=waiting.environment)
    client = login(auditor)
    page = text(client, waiting)
    assert "Approve …" not in page
    assert decide(auditor, Verb.APPROVE, waiting.deployment).sentence in page
    for door in ("approve/", "reject/"):
        assert client.post(address(waiting, door), {"reason": "x"}).status_code == 403
    waiting.refresh_from_db()
    assert waiting.state == State.WAITING


def test_it_names_who_could_answer(requester: User, approver: User, waiting: RunRequest, login: Login) -> None:
    assert "It can be answered by: approver." in text(login(requester), waiting)


def test_a_superuser_is_not_above_four_eyes(admin_user: User, waiting: RunRequest, login: Login) -> None:
    assert login(admin_user).post(address(waiting, "approve/")).status_code == 403


def test_the_second_answer_is_too_late(approver: User, waiting: RunRequest, login: Login) -> None:
    client = login(approver)
    press(client, waiting, "approve/")
    assert "can no longer become “Rejected”" in press(client, waiting, "reject/", "Changed my mind")
    assert waiting.state == State.APPROVED
    assert Approval.objects.count() == 1


def test_an_expired_request_has_no_buttons(approver: User, waiting: RunRequest, login: Login) -> None:
    RunRequest.objects.update(expires_at=timezone.now())
    client = login(approver)
    page = text(client, waiting)
    assert "Approve …" not in page
    assert "Nobody answered in time." in page
    assert "has expired" in press(client, waiting, "approve/")


def test_a_deployment_that_changed_meanwhile_is_said_before_it_is_approved(
    approver: User, waiting: RunRequest, login: Login
) -> None:
    Deployment.objects.update(version="2", schema_fingerprint="0" * 64)
    page = text(login(approver), waiting)
    assert "The parameters of the deployment changed after the request." in page
    assert "deployed is 2. It would be refused at launch." in page


def test_a_hostile_remark_is_only_text(approver: User, waiting: RunRequest, login: Login) -> None:
    page = press(login(approver), waiting, "reject/", "<script>alert(1)</script>\x00")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_no_answer_waits_for_prefect(approver: User, waiting: RunRequest, prod_fake: FakePrefect, login: Login) -> None:
    before = len(prod_fake.calls)
    press(login(approver), waiting, "approve/")
    assert len(prod_fake.calls) == before
