"""The page of messages: everybody chooses their own and reads what they were told."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.admin.notifications import message_lines
from runs import notifications, requests
from runs.models import Delivery, Notification
from runs.models.notification import DEFAULTS, Topic
from runs.notifications.links import link_of
from tests.background import notices
from tests.cast import by
from tests.portal.page_elements import refusal_codes
from tests.portal.page_text import Page

pytestmark = pytest.mark.django_db

URL = reverse("admin:runs_notification_changelist")
CHOOSE = reverse("admin:runs_notification_choose")
READ = reverse("admin:runs_notification_read")
PASSWORD = "correct horse battery staple"
Login = Callable[[User], Client]


def text(client: Client) -> str:
    answer = client.get(URL)
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_choice_is_kept_and_shown_ticked(
    viewer: User, dev: Environment, deployment: Deployment, login: Login
) -> None:
    client = login(viewer)
    assert text(client).count(" checked") == len(DEFAULTS)
    client.post(CHOOSE, {"wanted": ["freeze:all", f"break glass:{dev.pk}"]})
    chosen = set(viewer.subscriptions.filter(is_off=False).values_list("topic", "environment"))
    assert chosen == {("freeze", None), ("break glass", dev.pk)}
    assert text(client).count(" checked") == 2
    client.post(CHOOSE, {})
    assert set(viewer.subscriptions.values_list("topic", "is_off")) == {(topic, True) for topic in DEFAULTS}
    assert " checked" not in text(client)


@pytest.mark.parametrize("value", ["freeze:999", "gossip:all", "freeze", "freeze:²", "freeze:" + "9" * 40, "\0:all"])
def test_an_invalid_choice_is_refused(viewer: User, dev: Environment, login: Login, value: str) -> None:
    answer = login(viewer).post(CHOOSE, {"wanted": [value]}, follow=True)
    assert answer.status_code == 200
    assert refusal_codes(answer) <= {"environment.unknown", "notifications.topic"}
    assert refusal_codes(answer)
    assert not viewer.subscriptions.exists()


def test_an_environment_that_is_not_seen_is_not_offered(viewer: User, prod: Environment, login: Login) -> None:
    assert "prod" not in text(login(viewer))
    login(viewer).post(CHOOSE, {"wanted": [f"freeze:{prod.pk}"]})
    assert not viewer.subscriptions.exists()


def test_everybody_reads_their_own_messages_and_administrators_what_could_not_be_sent(
    viewer: User, stranger: User, admin_user: User, login: Login
) -> None:
    notice = Notification.objects.create(
        person=viewer,
        topic="freeze",
        subject="<b>dev</b> is frozen",
        text="Inner words",
        target_kind="environment",
        target_id="1",
    )
    Delivery.objects.create(notification=notice, state="failed", message="viewer has no mail address.")
    page = Page(text(login(viewer)))
    for words in ("<b>dev</b> is frozen", "Inner words", "viewer has no mail address."):
        assert words in page.text
    assert 'href="/admin/flows/environment/1/change/"' in text(login(viewer))
    assert "is frozen" not in text(login(stranger))
    page = Page(text(login(admin_user)))
    assert "<b>dev</b> is frozen" in page.text
    assert "viewer has no mail address." in page.text
    assert "Inner words" not in page.text


def test_unread_messages_come_first_are_counted_on_every_page_and_are_marked_as_read(
    viewer: User, requester: User, login: Login
) -> None:
    first, second = (notifications.create(viewer, Topic.FREEZE, None, name, "", None) for name in ("one", "two"))
    other = notifications.create(requester, Topic.FREEZE, None, "other", "", None)
    client = login(viewer)
    page = client.get("/admin/profile/").content.decode()
    assert re.search(r"<title>\(2\) ", page)
    assert re.search(r"data-inbox-count>2<", page)
    client.post(READ, {"notice": [str(first.pk), str(other.pk), "x", "9" * 30]})
    assert notifications.count_unread(requester.pk) == 1
    shown = text(client)
    assert shown.index(f"notice-{second.pk}") < shown.index(f"notice-{first.pk}")
    assert shown.count("is-unread") == 1
    assert client.post(READ, {"notice": str(second.pk), "quiet": "1"}).status_code == 204
    assert "data-inbox-count hidden" in text(client)
    notifications.create(viewer, Topic.FREEZE, None, "three", "", None)
    client.post(READ, {"all": "1"})
    assert notifications.count_unread(viewer.pk) == 0


def test_older_messages_have_pages(viewer: User, login: Login) -> None:
    now = timezone.now()
    Notification.objects.bulk_create(
        Notification(person=viewer, topic="freeze", subject=f"no. {number}.", text="", created_at=now, read_at=now)
        for number in range(message_lines.FEW + 1)
    )
    client = login(viewer)
    first = text(client)
    (before,) = re.findall(r"\?before=(\d+)", first)
    older = client.get(URL, {"before": before}).content.decode()
    assert "no. 0." not in first
    assert "no. 0." in older
    assert older.count('data-key="notice-') == 1
    assert client.get(URL, {"before": "9" * 30}).status_code == 200


def test_a_missing_address_or_server_is_told(viewer: User, login: Login, settings: object) -> None:
    assert 'data-code="no_address"' in text(login(viewer))
    viewer.email = "viewer@portal.example"
    viewer.save()
    assert "viewer@portal.example" in text(login(viewer))
    assert "data-code=" not in text(login(viewer))
    settings.SENDS_MAIL = False  # type: ignore[attr-defined]  # the fixture's own
    assert 'data-code="no_mail_server"' in text(login(viewer))


def test_nobody_chooses_without_signing_in(client: Client) -> None:
    assert client.post(CHOOSE, {"wanted": ["freeze:all"]}).status_code == 302
    assert client.get(URL).status_code == 302


def test_a_link_of_a_message_asks_to_sign_in_and_decides_nothing(
    prod_deployment: Deployment, requester: User, approver: User, client: Client, settings: Any
) -> None:
    settings.PUBLIC_URL = ""
    change = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="Month end").change
    link = link_of(notices().get(person=approver))
    approver.set_password(PASSWORD)
    approver.save()
    asked = client.get(link)
    assert asked.status_code == 302
    assert "next=" in asked.url  # type: ignore[attr-defined]  # a redirect
    entered = client.post(asked.url, {"username": "approver", "password": PASSWORD, "next": link})  # type: ignore[attr-defined]
    assert (entered.status_code, entered.url) == (302, link)  # type: ignore[attr-defined]
    assert client.get(link, follow=True).status_code == 200
    change.refresh_from_db()
    assert change.state == "waiting"
