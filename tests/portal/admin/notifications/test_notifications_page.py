"""The page of messages: everybody chooses their own and reads what they were told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from runs.models import Delivery, Notification
from runs.models.notification import DEFAULTS
from tests.portal.page_elements import refusal_codes
from tests.portal.page_text import Page

pytestmark = pytest.mark.django_db

URL = reverse("admin:runs_notification_changelist")
CHOOSE = reverse("admin:runs_notification_choose")
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
