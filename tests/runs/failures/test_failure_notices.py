"""One notification for each group, to those who subscribed and can see the deployment."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs import failures, notifications
from runs.actors import Actor
from runs.governance import grants
from runs.models import Notification
from runs.models.notification import Topic
from tests.background import notices
from tests.cast import by, person
from tests.failed_runs import a_failure, fail, grouped

pytestmark = pytest.mark.django_db


def subscribe(*people: User) -> None:
    for each in people:
        notifications.subscribe(each, [(Topic.FAILURE, None)], by=by(each))


def received() -> list[tuple[str, str]]:
    return [(each.person.username, each.target_kind) for each in notices().order_by("pk")]


def test_a_new_one_and_one_that_came_back_are_announced_once_each(
    deployment: Deployment, requester: User, viewer: User, stranger: User
) -> None:
    subscribe(requester, viewer, stranger)
    group = a_failure(deployment, number=3)
    once = [("requester", "failuregroup"), ("viewer", "failuregroup")]
    assert received() == once
    fail(deployment)
    grouped()
    assert received() == once
    failures.resolve(group, by=by(requester), reason="fixed")
    fail(deployment)
    fail(deployment)
    grouped()
    # Who resolved it is not notified of that.
    assert received() == [*once, ("viewer", "failuregroup"), *once]
    assert Notification.objects.filter(target_id=str(group.pk)).count() == 5


def test_who_cannot_view_logs_is_told_without_the_message(deployment: Deployment, viewer: User) -> None:
    blind = person("blind")
    grants.grant(by=Actor.system(), person=blind, verbs=["see"], environment=deployment.environment)
    subscribe(blind, viewer)
    a_failure(deployment, "ValueError: password hunter2 is wrong")
    texts = {each.person.username: f"{each.subject} {each.text}" for each in notices()}
    assert "ValueError" not in texts["blind"]
    assert "ValueError" in texts["viewer"]


def test_who_did_not_subscribe_is_not_told(deployment: Deployment, viewer: User) -> None:
    a_failure(deployment)
    assert received() == []
