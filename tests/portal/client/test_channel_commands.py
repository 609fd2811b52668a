"""The commands of channels and deliveries, and the rules of a channel."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Environment
from runs import notifications
from runs.models.notification import Topic
from runs.notifications import channels, notification_rules
from tests.cast import by
from tests.portal.client.in_process import Commands

pytestmark = pytest.mark.django_db


def test_they_are_listed(command: Commands, viewer: User, auditor: User, admin_user: User, dev: Environment) -> None:
    room = channels.create(by=by(admin_user), name="room", kind="slack", address="https://hooks.example.org/T0KEN")
    notification_rules.create("of the room", ["failed"], by=by(admin_user), channel=room.channel)
    viewer.email = "viewer@portal.example"
    notifications.create(viewer, Topic.FREEZE, dev, "dev is frozen", "", dev, [room.channel])
    assert "no channels" in command(viewer, "channels").out
    assert "dev is frozen" in command(viewer, "deliveries", "-e", "dev", "--state", "wanted").out
    assert "no such deliveries" in command(viewer, "deliveries", "--channel", "room").out
    listed = command(auditor, "channels", reads_trail=True)
    assert "hooks.example.org" in listed.out
    assert "T0KEN" not in listed.out
    assert "dev is frozen" in command(auditor, "deliveries", "--channel", "room", reads_trail=True).out
    assert "of the room" in command(auditor, "notification-rules", "list", "--channel", "room", reads_trail=True).out
