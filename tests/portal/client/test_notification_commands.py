"""The command of notification rules."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs.models import NotificationRule
from tests.portal.client.in_process import Commands

pytestmark = pytest.mark.django_db


def test_they_are_added_listed_and_removed(command: Commands, viewer: User, deployment: Deployment) -> None:
    words = ("notification-rules", "add", "nightly", "failed", "recovered", "-e", "dev", "--tag", "crm")
    assert command(viewer, *words).code == 0
    assert "tag crm" in command(viewer, "notification-rules", "list", "-e", "dev").out
    assert command(viewer, "notification-rules", "add", "x", "gossip").code == 1
    number = str(NotificationRule.objects.get().pk)
    assert command(viewer, "notification-rules", "remove", number).code == 0
    assert "no notification rules that" in command(viewer, "notification-rules", "list").out
