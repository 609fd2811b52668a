"""Pausing and resuming deployments."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from django_q.models import OrmQ

from flows.access import Forbidden, Refused
from flows.models import Deployment, Environment
from runs import dispatch, switches
from runs.models import AuditEntry, Switch
from tests.cast import by
from tests.prefect import FakePrefect

pytestmark = pytest.mark.django_db


def test_pausing_is_asked_for_sent_and_read_back(deployment: Deployment, admin_user: User, fake: FakePrefect) -> None:
    wish = switches.pause(deployment, by=by(admin_user), reason="month end")
    assert [task.func() for task in OrmQ.objects.all()] == ["runs.tasks.switch"]
    dispatch.switch(wish)
    deployment.refresh_from_db()
    assert deployment.is_paused
    assert fake.deployment(deployment.prefect_id).is_paused
    dispatch.switch(switches.resume(deployment, by=by(admin_user)))
    deployment.refresh_from_db()
    assert not deployment.is_paused
    assert list(AuditEntry.objects.values_list("verb", "outcome").order_by("sequence")) == [
        ("deployment.pause", "done"),
        ("deployment.resume", "done"),
    ]


def test_who_may_not_manage_may_not_pause(deployment: Deployment, asker: User) -> None:
    with pytest.raises(Forbidden):
        switches.pause(deployment, by=by(asker))
    assert AuditEntry.objects.filter(verb="deployment.pause").get().outcome == "refused"


def test_what_is_so_already_is_refused(deployment: Deployment, admin_user: User) -> None:
    with pytest.raises(Refused, match="not paused already"):
        switches.resume(deployment, by=by(admin_user))


def test_production_wants_a_reason(prod_deployment: Deployment, prod: Environment, admin_user: User) -> None:
    with pytest.raises(Refused, match="wants a reason"):
        switches.pause(prod_deployment, by=by(admin_user))


def test_prefect_down_it_waits(deployment: Deployment, admin_user: User, fake: FakePrefect) -> None:
    wish = switches.pause(deployment, by=by(admin_user))
    fake.go_down()
    dispatch.switch(wish)
    wish.refresh_from_db()
    assert wish.state == Switch.State.WANTED
    assert "sent again by itself" in wish.message
    fake.come_back()
    Switch.objects.update(next_attempt_at=timezone.now())
    dispatch.switch(wish)
    wish.refresh_from_db()
    assert wish.state == Switch.State.DONE


def test_a_deployment_that_is_gone_fails_with_its_reason(
    deployment: Deployment, admin_user: User, fake: FakePrefect
) -> None:
    wish = switches.pause(deployment, by=by(admin_user))
    fake.remove_deployment(deployment.prefect_id)
    dispatch.switch(wish)
    wish.refresh_from_db()
    assert wish.state == Switch.State.FAILED
    assert wish.message
