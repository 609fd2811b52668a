"""When a person's email is sent: held, collected in one, and repeated messages counted as one."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import tasks
from runs.models import AuditEntry, Delivery, Notification
from runs.models.notification import Topic
from runs.notifications import deliveries, email_choices
from runs.notifications.services import Draft, create, create_many
from tests.cast import by
from tests.refusals import refused
from tests.smtp import Post, post_office

pytestmark = pytest.mark.django_db


@pytest.fixture
def post(settings: Any) -> Iterator[Post]:
    with post_office() as post:
        settings.SMTP = {"host": "127.0.0.1", "port": post.port, "timeout": 5}
        backend = "django.core.mail.backends.smtp.EmailBackend"
        settings.MAILERS = {"default": {"BACKEND": backend, "OPTIONS": settings.SMTP}}
        settings.SENDS_MAIL = True
        yield post


@pytest.fixture
def reader(viewer: User) -> User:
    User.objects.filter(pk=viewer.pk).update(email="reader@portal.example")
    viewer.refresh_from_db()
    return viewer


def send(person: User, subject: str = "It failed", topic: Topic = Topic.FAILED, **parts: Any) -> Notification:
    fresh = User.objects.select_related("email_settings").get(pk=person.pk)
    return create(fresh, topic, None, subject, parts.pop("text", "A text."), parts.pop("target", None))


def make_due() -> None:
    Delivery.objects.update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def test_a_digest_holds_email_and_sends_it_as_one(reader: User, post: Post) -> None:
    email_choices.choose(reader, by=by(reader), digest="hourly")
    send(reader, "One <b>failed</b>", text="<script>x</script>")
    send(reader, "Two failed")
    tasks.send_deliveries(deliveries.EMAIL)
    assert post.mails == []
    assert Notification.objects.count() == 2, "in the portal they are there at once"
    make_due()
    tasks.send_deliveries(deliveries.EMAIL)
    (mail,) = post.mails
    plain = mail.get_body(("plain",)).get_content()
    assert [part in plain for part in ("One <b>failed</b>", "Two failed")] == [True, True]
    assert "<script>" not in mail.get_body(("html",)).get_content()
    assert set(Delivery.objects.values_list("state", flat=True)) == {"sent"}


def test_what_is_urgent_is_not_held(reader: User, post: Post) -> None:
    email_choices.choose(reader, by=by(reader), digest="daily")
    send(reader, topic=Topic.WAITING)
    send(reader, "Later")
    tasks.send_deliveries(deliveries.EMAIL)
    assert len(post.mails) == 1
    email_choices.choose(reader, by=by(reader), digest="daily", urgent_at_once=False)
    send(reader, topic=Topic.WAITING)
    tasks.send_deliveries(deliveries.EMAIL)
    assert len(post.mails) == 1


def test_a_digest_that_cannot_be_sent_is_tried_again(reader: User, post: Post) -> None:
    email_choices.choose(reader, by=by(reader), digest="hourly")
    send(reader, "One")
    send(reader, "Two")
    make_due()
    post.answer = "451 come back later"
    tasks.send_deliveries(deliveries.EMAIL)
    assert [each.state for each in Delivery.objects.all()] == ["wanted", "wanted"]
    post.answer = "250 ok"
    make_due()
    tasks.send_deliveries(deliveries.EMAIL)
    assert len(post.mails) == 1
    assert [each.state for each in Delivery.objects.all()] == ["sent", "sent"]


def test_a_digest_that_is_repeated_is_the_same_email(reader: User, post: Post) -> None:
    """With one more message in it, a mail program that knows its id would hide that one."""
    email_choices.choose(reader, by=by(reader), digest="hourly")
    for subject in ("One", "Two"):
        send(reader, subject)
    make_due()
    tasks.send_deliveries(deliveries.EMAIL)
    # The process was killed before it recorded that, and another message is due by now.
    Delivery.objects.update(state="wanted")
    send(reader, "Three")
    make_due()
    tasks.send_deliveries(deliveries.EMAIL)
    tasks.send_deliveries(deliveries.EMAIL)
    first, again, new = post.mails
    assert first["Message-ID"] == again["Message-ID"] != new["Message-ID"]
    texts = [mail.get_body(("plain",)).get_content() for mail in post.mails]
    assert texts[0] == texts[1]
    assert "Three" not in texts[1]
    assert new["Subject"] == "Three"


def test_the_same_again_is_one_message_with_a_number(
    reader: User, requester: User, deployment: Deployment, dev: Environment
) -> None:
    for text in ("Run a.", "Run b.", "Run b."):
        send(reader, text=text)
    send(requester)
    send(reader, "Another")
    send(reader, target=dev)
    send(reader, topic=Topic.CANCELLED)
    first = Notification.objects.order_by("pk")[0]
    assert (first.number, first.text) == (3, "Run b.\nRun a.")
    assert Notification.objects.count() == 5
    assert Delivery.objects.count() == 4, "the requester has no address"
    Notification.objects.update(created_at=timezone.now() - timedelta(minutes=11))
    send(reader)
    assert Notification.objects.count() == 6


@pytest.mark.parametrize("topic", [Topic.WAITING, Topic.BREAK_GLASS, Topic.RULES])
def test_what_waits_and_what_loosens_is_never_counted_together(reader: User, topic: Topic) -> None:
    for _ in range(2):
        send(reader, topic=topic)
    assert Notification.objects.count() == 2


def test_one_that_was_read_is_unread_again(reader: User) -> None:
    notice = send(reader)
    Notification.objects.update(read_at=timezone.now())
    send(reader)
    notice.refresh_from_db()
    assert (notice.number, notice.read_at) == (2, None)


def test_who_wants_each_gets_each(reader: User) -> None:
    email_choices.choose(reader, by=by(reader), merge_minutes=0)
    for _ in range(2):
        send(reader)
    assert Notification.objects.count() == 2


def test_many_messages_cost_the_same_queries(reader: User) -> None:
    person = User.objects.select_related("email_settings").get(pk=reader.pk)
    counts = []
    for number in (2, 20):
        drafts = [Draft(person, Topic.FAILED, None, f"{number} {place // 2}", "x") for place in range(number)]
        with CaptureQueriesContext(connection) as queries:
            create_many(drafts)
        counts.append(len(queries))
    assert counts[0] == counts[1] <= 6
    assert Notification.objects.count() == 11


@pytest.mark.parametrize(
    ("code", "columns"),
    [
        ("notifications.quiet", {"quiet_from": time(22)}),
        ("notifications.digest", {"digest": "weekly"}),
        ("notifications.digest", {"digest": "daily", "digest_hour": 24}),
        ("notifications.merge", {"merge_minutes": -1}),
    ],
)
def test_what_cannot_be_chosen_is_refused(reader: User, code: str, columns: dict[str, Any]) -> None:
    with refused(code):
        email_choices.choose(reader, by=by(reader), **columns)


def test_each_chooses_for_themselves(reader: User, requester: User) -> None:
    with refused("notifications.not_own"):
        email_choices.choose(reader, by=by(requester), digest="daily")
    email_choices.choose(reader, by=by(reader), quiet_from=time(22), quiet_until=time(7))
    entry = AuditEntry.objects.filter(verb="person.choose_email", outcome="done").get()
    assert (entry.before["quiet_from"], entry.after["quiet_from"]) == (None, "22:00")
