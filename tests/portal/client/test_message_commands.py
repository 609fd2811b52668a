"""The command of notifications."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Deployment
from runs import notifications
from runs.models.notification import Topic
from tests.portal.client.in_process import Commands

pytestmark = pytest.mark.django_db


def test_they_are_listed_and_marked_as_read(command: Commands, viewer: User, deployment: Deployment) -> None:
    dev = deployment.environment
    made = notifications.create(viewer, Topic.FREEZE, dev, "dev is frozen", "Why", dev)
    assert "dev is frozen" in command(viewer, "notifications", "list", "--unread", "-e", "dev").out
    assert command(viewer, "notifications", "read", str(made.pk)).code == 0
    assert "no such notifications" in command(viewer, "notifications", "list", "--unread").out
    assert command(viewer, "notifications", "read").code == 0
