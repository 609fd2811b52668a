"""Pause and resume deployments."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import dispatch
from runs.access.decisions import Forbidden
from runs.governance import pausing
from runs.models import Action, AuditEntry, QueuedTask
from runs.models.action import State
from tests.cast import by
from tests.fakes.prefect import FakePrefect
from tests.refusals import refused

pytestmark = pytest.mark.django_db


def test_pausing_is_asked_for_sent_and_read_back(deployment: Deployment, admin_user: User, fake: FakePrefect) -> None:
    pause_request = pausing.pause(deployment, by=by(admin_user), reason="month end")
    assert [row.task for row in QueuedTask.objects.all()] == ["runs.tasks.carry_out"]
    dispatch.carry_out(pause_request)
    deployment.refresh_from_db()
    assert deployment.is_paused
    assert fake.deployment(deployment.prefect_id).is_paused
    dispatch.carry_out(pausing.resume(deployment, by=by(admin_user)))
    deployment.refresh_from_db()
    assert not deployment.is_paused
    assert list(AuditEntry.objects.values_list("verb", "outcome").order_by("sequence")) == [
        ("deployment.pause", "done"),
        ("deployment.resume", "done"),
    ]


def test_who_may_not_manage_may_not_pause(deployment: Deployment, requester: User) -> None:
    with pytest.raises(Forbidden):
        pausing.pause(deployment, by=by(requester))
    assert AuditEntry.objects.filter(verb="deployment.pause").get().outcome == "refused"


def test_what_is_so_already_is_refused(deployment: Deployment, admin_user: User) -> None:
    with refused("deployment.unchanged"):
        pausing.resume(deployment, by=by(admin_user))


def test_production_wants_a_reason(prod_deployment: Deployment, prod: Environment, admin_user: User) -> None:
    with refused("reason.required"):
        pausing.pause(prod_deployment, by=by(admin_user))


def test_prefect_down_it_waits(deployment: Deployment, admin_user: User, fake: FakePrefect) -> None:
    pause_request = pausing.pause(deployment, by=by(admin_user))
    fake.go_down()
    dispatch.carry_out(pause_request)
    pause_request.refresh_from_db()
    assert pause_request.state == State.WANTED
    assert pause_request.message
    assert pause_request.next_attempt_at is not None
    fake.come_back()
    Action.objects.update(next_attempt_at=timezone.now())
    dispatch.carry_out(pause_request)
    pause_request.refresh_from_db()
    assert pause_request.state == State.DONE


def test_a_deployment_that_is_gone_fails_with_its_reason(
    deployment: Deployment, admin_user: User, fake: FakePrefect
) -> None:
    pause_request = pausing.pause(deployment, by=by(admin_user))
    fake.remove_deployment(deployment.prefect_id)
    dispatch.carry_out(pause_request)
    pause_request.refresh_from_db()
    assert pause_request.state == State.FAILED
    assert pause_request.message
