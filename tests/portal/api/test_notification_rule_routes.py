"""Notification rules through the API: one's own are created, listed and removed."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Group, User

from flows.models import Deployment
from runs.models import NotificationRule
from runs.notifications import notification_rules
from tests.cast import by
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db
BODY = {"name": "Nightly", "topics": ["failed", "recovered"], "environment": "dev", "deployment": "monthly/monthly"}


def test_one_is_created_listed_and_removed(
    deployment: Deployment, viewer: User, requester: User, program: Programs
) -> None:
    caller, other = program(viewer), program(requester)
    made = caller.post("/notification-rules", BODY)
    assert (made.status, made.body["person"], made.body["topics"]) == (201, "viewer", ["failed", "recovered"])
    number = made.body["id"]
    listed = "/notification-rules?environment=dev&active=true&topic=failed"
    assert [each["id"] for each in caller.get(listed).body["items"]] == [number]
    assert other.get("/notification-rules").body["items"] == []
    assert other.post(f"/notification-rules/{number}/remove").status == 404
    assert caller.post(f"/notification-rules/{number}/remove", {"reason": "x"}).body["removed_at"]
    again = caller.post(f"/notification-rules/{number}/remove")
    assert (again.status, again.code) == (409, "notification_rule.removed")


def test_a_program_reads_the_rules_of_groups_and_removes_none(
    deployment: Deployment, admin_user: User, requester: User, program: Programs
) -> None:
    group = Group.objects.get(name="Operator")
    rule = notification_rules.create("theirs", ["failed"], by=by(admin_user), group=group)
    caller = program(requester)
    assert [each["group"] for each in caller.get("/notification-rules").body["items"]] == ["Operator"]
    refused = caller.post(f"/notification-rules/{rule.pk}/remove")
    assert (refused.status, refused.code) == (403, "notification_rule.not_yours")


def test_wrong_values_are_refused(deployment: Deployment, viewer: User, program: Programs) -> None:
    caller = program(viewer)
    assert caller.post("/notification-rules", {**BODY, "environment": "none"}).status == 404
    assert caller.post("/notification-rules", {**BODY, "topics": ["gossip"]}).status == 422
    assert caller.post("/notification-rules", {**BODY, "after_minutes": 5}).code == "notification_rule.minutes"
    assert not NotificationRule.objects.exists()


def test_the_api_knows_every_topic(viewer: User, program: Programs) -> None:
    assert (
        program(viewer).post("/notification-rules", {"name": "all", "topics": notification_rules.CHOOSABLE}).status
        == 201
    )
