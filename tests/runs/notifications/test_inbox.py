"""The messages of a person in the portal: how many are unread, and who marks which as read."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User

from flows.models import Environment
from runs import notifications
from runs.models import Delivery, Notification
from runs.models.notification import Topic
from tests.cast import by

pytestmark = pytest.mark.django_db


def message(person: User | None, environment: Environment | None = None, subject: str = "Frozen") -> Notification:
    return notifications.create(person, Topic.FREEZE, environment, subject, "Why", environment)


def test_people_mark_their_own_messages_and_no_others(viewer: User, requester: User) -> None:
    first, second = message(viewer), message(viewer, subject="Unfrozen")
    other = message(requester)
    assert notifications.count_unread(viewer.pk) == 2
    assert notifications.mark_read(by(viewer), [first.pk, other.pk, 0]) == 1
    assert notifications.mark_read(by(viewer), [first.pk]) == 0
    assert [notifications.count_unread(each.pk) for each in (viewer, requester)] == [1, 1]
    assert notifications.mark_read(by(viewer)) == 1
    second.refresh_from_db()
    assert second.read_at
    assert notifications.count_unread(requester.pk) == 1


def test_no_more_are_counted_than_are_displayed(viewer: User) -> None:
    Notification.objects.bulk_create(Notification(person=viewer, topic=Topic.FREEZE, text="") for _ in range(120))
    assert notifications.count_unread(viewer.pk) == notifications.MOST_COUNTED


def test_a_message_without_a_person_is_in_no_inbox_and_sends_no_email(viewer: User) -> None:
    message(None)
    assert not Delivery.objects.exists()
    assert notifications.count_unread(viewer.pk) == 0
