"""Approve, reject, withdraw and expire a waiting request."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, requests, tasks
from runs.access.decisions import Forbidden
from runs.actors import Actor
from runs.changes.states import move_change
from runs.governance import grants
from runs.models import AuditEntry, ChangeRequest, RunRequest
from runs.models.request import State
from tests.background import queued_tasks
from tests.cast import by
from tests.refusals import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def waiting(prod_deployment: Deployment, requester: User) -> RunRequest:
    return requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="month end")


def test_an_approval_lets_it_go(waiting: RunRequest, approver: User) -> None:
    changes.approve(waiting.change, by=by(approver), reason="fine")
    waiting.refresh_from_db()
    assert waiting.state == State.APPROVED
    approval = waiting.change.approvals.get()
    assert (approval.by, approval.digest, approval.approved) == (approver, waiting.change.digest, True)
    assert queued_tasks() == ["runs.tasks.launch"]
    assert AuditEntry.objects.get(verb="request.approve").outcome == "done"


def test_the_asker_never_approves(waiting: RunRequest, requester: User, prod: Environment) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["approve"], environment=prod)
    for superuser in (False, True):
        requester.is_superuser = superuser
        requester.save()
        with refused("approval.own"):
            changes.approve(waiting.change, by=by(requester))
    waiting.refresh_from_db()
    assert waiting.state == State.HELD
    assert AuditEntry.objects.filter(verb="request.approve", outcome="refused").count() == 2


def test_a_superuser_without_a_grant_does_not_approve(waiting: RunRequest, admin_user: User) -> None:
    with pytest.raises(Forbidden):
        changes.approve(waiting.change, by=by(admin_user))


def test_the_second_answer_comes_too_late(waiting: RunRequest, approver: User) -> None:
    changes.reject(waiting.change, by=by(approver), reason="not now")
    waiting.refresh_from_db()
    with refused("state.illegal"):
        changes.approve(waiting.change, by=by(approver))
    assert waiting.state == State.REJECTED
    assert waiting.message == "not now"
    assert waiting.change.approvals.count() == 1
    assert queued_tasks() == []


def test_an_expired_request_cannot_be_approved(waiting: RunRequest, approver: User) -> None:
    ChangeRequest.objects.filter(pk=waiting.change_id).update(expires_at=timezone.now() - timedelta(seconds=1))
    waiting.refresh_from_db()
    with refused("request.expired"):
        changes.approve(waiting.change, by=by(approver))
    tasks.expire()
    waiting.refresh_from_db()
    assert waiting.state == State.EXPIRED


def test_the_asker_may_take_it_back(waiting: RunRequest, requester: User) -> None:
    changes.withdraw(waiting.change, by=by(requester))
    waiting.refresh_from_db()
    assert waiting.state == State.WITHDRAWN


def test_somebody_else_takes_it_back_only_with_a_grant(waiting: RunRequest, viewer: User, approver: User) -> None:
    for person in (viewer, approver):
        with pytest.raises(Forbidden):
            changes.withdraw(waiting.change, by=by(person))


def test_every_legal_move_ends_somewhere() -> None:
    """From every state but the last ones there is a way on, and nothing leads back to the beginning."""
    last = {State.REJECTED, State.WITHDRAWN, State.EXPIRED, State.REFUSED}
    for state in State:
        ways = {to for to, sources in changes.LEGAL_FROM.items() if state in sources}
        assert bool(ways) is (state not in last)
        assert State.HELD not in ways


def test_no_other_move_is_made(waiting: RunRequest) -> None:
    """Whatever the object in memory says, the row decides."""
    waiting.state = State.LAUNCHING
    for to in sorted(set(changes.LEGAL_FROM) - {State.APPROVED, State.REJECTED, State.WITHDRAWN, State.EXPIRED}):
        with refused("state.illegal"):
            changes.move(waiting, to=to)
    with refused("state.illegal"):
        move_change(waiting.change, to=ChangeRequest.State.CLOSED)
    waiting.refresh_from_db()
    assert (waiting.state, waiting.change.state) == (State.HELD, ChangeRequest.State.WAITING)
