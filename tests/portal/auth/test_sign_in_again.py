"""Links of messages that ask for a decision: they ask for the password, except just after a sign-in."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment
from portal.auth.browser_sessions import ORIGIN, RECENTLY
from portal.auth.sign_in_again import path_through
from portal.models import BrowserSession
from runs import requests
from runs.models import AuditEntry, Notification
from runs.models.notification import Topic
from runs.notifications.links import link_of
from tests.background import notices
from tests.cast import by

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery staple"


@pytest.fixture
def target(prod_deployment: Deployment, requester: User, approver: User, settings: Any) -> str:
    """The page of a request that waits for the approver."""
    settings.PUBLIC_URL = ""
    approver.set_password(PASSWORD)
    approver.save()
    waiting = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(requester), reason="Month end")
    return reverse("admin:runs_runrequest_change", args=[waiting.pk])


@pytest.fixture
def link(target: str, approver: User) -> str:
    return link_of(notices().get(person=approver))


def signed_in(person: User, since: timedelta) -> Client:
    client = Client()
    client.force_login(person)
    session = client.session
    at = (timezone.now() - since).isoformat()
    session[ORIGIN] = {"at": at, "proven_at": at, "address": "", "browser": ""}
    session.save()
    return client


def enter(client: Client, link: str, password: str = PASSWORD) -> Any:
    return client.post(link, {"username": "approver", "password": password})


def test_an_open_session_is_asked_for_the_password_first(link: str, target: str, approver: User) -> None:
    client = signed_in(approver, RECENTLY + timedelta(minutes=1))
    asked = client.get(link)
    page = asked.content.decode()
    assert asked.status_code == 200
    assert 'value="approver"' in page
    assert "not authorized" not in enter(client, link, "wrong").content.decode()
    assert client.get(link).status_code == 200
    answer = enter(client, link)
    assert (answer.status_code, answer["Location"]) == (302, target)
    assert [entry.outcome for entry in AuditEntry.objects.filter(verb="session.sign_in").order_by("sequence")] == [
        "refused",
        "done",
    ]
    # It is the same session, which began again.
    (session,) = BrowserSession.objects.filter(user=approver)
    assert session.signed_in_at is not None
    assert timezone.now() - session.signed_in_at < RECENTLY
    assert client.get(link)["Location"] == target


def test_a_session_without_a_beginning_is_asked_too(link: str, approver: User) -> None:
    client = Client()
    client.force_login(approver)
    assert client.get(link).status_code == 200


def test_one_password_is_enough_for_who_was_signed_out(link: str, target: str) -> None:
    client = Client()
    sign_in = client.get(link)["Location"]
    assert enter(client, sign_in)["Location"] == link
    assert client.get(link)["Location"] == target


def test_a_second_account_can_be_used(link: str, target: str, viewer: User, approver: User) -> None:
    client = signed_in(viewer, RECENTLY * 2)
    answer = enter(client, link)
    assert answer["Location"] == target
    assert client.session["_auth_user_id"] == str(approver.pk)
    assert not BrowserSession.objects.filter(user=viewer).exists()


@pytest.mark.parametrize("elsewhere", ["https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)"])
def test_it_leads_to_pages_of_the_portal_alone(target: str, approver: User, elsewhere: str) -> None:
    index, link = reverse("admin:index"), path_through(elsewhere)
    assert signed_in(approver, timedelta()).get(link)["Location"] == index
    answer = enter(signed_in(approver, RECENTLY * 2), link)
    assert answer["Location"] == index


@pytest.mark.parametrize(
    ("topic", "kind", "asks"),
    [
        (Topic.WAITING, "runrequest", True),
        (Topic.WAITING, "changerequest", True),
        (Topic.RULES, "changerequest", True),
        (Topic.RULES, "environment", False),
        (Topic.ANSWERED, "runrequest", False),
        (Topic.FAILED, "run", False),
    ],
)
def test_what_asks_for_no_decision_is_linked_directly(topic: Topic, kind: str, asks: bool, settings: Any) -> None:
    settings.PUBLIC_URL = "https://portal.example"
    link = link_of(Notification(topic=topic, target_kind=kind, target_id="7"))
    assert link.startswith("https://portal.example/admin/")
    assert link.startswith(f"https://portal.example{reverse('sign_in_again')}?next=/admin/") == asks
