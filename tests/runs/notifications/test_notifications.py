"""Email notifications: recipients, content, and what happens when the mail server fails."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, notifications, requests, tasks
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import grants, policies
from runs.models import Delivery, Notification, Policy, RunRequest, Subscription
from runs.models.notification import Topic
from runs.notifications.mail import error_label
from tests import cast
from tests.background import notices
from tests.cast import by
from tests.refusals import refused
from tests.smtp import Post, post_office

pytestmark = pytest.mark.django_db

SMTP = "django.core.mail.backends.smtp.EmailBackend"


@pytest.fixture
def post(settings: Any) -> Iterator[Post]:
    with post_office() as post:
        settings.SMTP = {"host": "127.0.0.1", "port": post.port, "timeout": 5}
        settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": settings.SMTP}}
        settings.PUBLIC_URL = "https://portal.example/"
        settings.SENDS_MAIL = True
        settings.DEFAULT_FROM_EMAIL = "portal@portal.example"
        yield post


@pytest.fixture
def reader(approver: User) -> User:
    """An approver with an address, who wants to know of everything."""
    approver.email = "approver@portal.example"
    approver.save()
    notifications.subscribe(approver, [(topic, None) for topic in Topic], by=by(approver))
    return approver


def ask(deployment: Deployment, requester: User, **values: Any) -> RunRequest:
    return requests.submit(deployment, {"month": "2026-10"}, by=by(requester), **{"reason": "Month end", **values})


def only() -> Notification:
    return notices().get()


def sent() -> Delivery:
    """The email of the only notification."""
    return only().deliveries.get()


def send_mails() -> None:
    """Deliver what happened, and send the emails that are due."""
    tasks.deliver_events()
    tasks.send_deliveries(notifications.EMAIL)


def text_of(mail: EmailMessage, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part
    return str(part.get_content())


# Recipients


def test_who_may_answer_is_told_and_the_mail_leads_to_the_request(
    prod_deployment: Deployment, requester: User, reader: User, post: Post, client: Client
) -> None:
    run_request = ask(prod_deployment, requester)
    send_mails()
    (mail,) = post.mails
    assert post.recipients == ["approver@portal.example"]
    assert mail["Subject"].endswith(": monthly in prod")
    assert mail["From"] == "portal@portal.example"
    text = text_of(mail)
    for part in ("requester", "monthly in prod", "Month end"):
        assert part in text
    link = text.split()[-1]
    assert link == f"https://portal.example/admin/sign-in-again/?next=/admin/runs/runrequest/{run_request.pk}/change/"
    assert (sent().state, sent().sent_at is not None) == ("sent", True)

    # Following the link leads there after signing in.
    path = link.removeprefix("https://portal.example")
    gate = client.get(path)
    assert gate.url.startswith("/admin/login/?next=")  # type: ignore[attr-defined]  # a redirect
    reader.set_password("portal-test")
    reader.save()
    signed_in = client.post(gate.url, {"username": "approver", "password": "portal-test", "next": path})  # type: ignore[attr-defined]  # as above
    assert signed_in.url == path  # type: ignore[attr-defined]  # as above
    page = client.get(path)
    assert page.url == f"/admin/runs/runrequest/{run_request.pk}/change/"  # type: ignore[attr-defined]  # as above
    assert client.get(page.url).status_code == 200  # type: ignore[attr-defined]  # as above


def test_nobody_is_told_of_what_they_may_not_answer_or_see(
    prod_deployment: Deployment, requester: User, reader: User, viewer: User, stranger: User
) -> None:
    for person in (requester, viewer, stranger):
        notifications.subscribe(person, [(topic, None) for topic in Topic], by=by(person))
    grants.grant(by=Actor.system(), person=requester, verbs=["approve"], environment=prod_deployment.environment)
    ask(prod_deployment, requester)
    assert [notice.person for notice in notices()] == [reader]


def test_each_stage_tells_those_who_can_approve_it_when_it_begins(
    prod_deployment: Deployment, requester: User, reader: User, admin_user: User
) -> None:
    manager = cast.person("manager", "Release manager")
    grants.grant(by=Actor.system(), person=manager, verbs=cast.ANSWERS, environment=prod_deployment.environment)
    notifications.subscribe(manager, [("waiting", None)], by=by(manager))
    stages = [{"needed": 1, "group": "Approver"}, {"needed": 1, "group": "Release manager"}]
    policies.save_policy(Policy(name="Two", stages=stages), by=by(admin_user))
    run_request = ask(prod_deployment, requester)
    assert [notice.person for notice in notices()] == [reader]
    changes.approve(run_request.change, by=by(reader))
    run_request.refresh_from_db()
    assert [notice.person for notice in notices().order_by("pk")] == [reader, manager]


def test_an_answer_reaches_the_asker_alone(
    prod_deployment: Deployment, requester: User, approver: User, viewer: User
) -> None:
    for person in (requester, viewer):
        notifications.subscribe(person, [("answered", None)], by=by(person))
    changes.reject(ask(prod_deployment, requester).change, by=by(approver), reason="Not today")
    assert (only().person, only().subject) == (requester, "monthly in prod was rejected")
    assert "Not today" in only().text


def test_broken_glass_alerts_everybody_who_wants_to_know(
    prod_deployment: Deployment, prod: Environment, requester: User, reader: User, viewer: User, auditor: User
) -> None:
    grants.grant(by=Actor.system(), person=requester, verbs=["break glass"], environment=prod)
    for person in (viewer, auditor):
        grants.grant(by=Actor.system(), person=person, verbs=["see"], environment=prod)
        notifications.subscribe(person, [("break glass", prod.pk)], by=by(person))
    changes.break_glass(ask(prod_deployment, requester).change, by=by(requester), reason="The shop is down")
    received = notices().filter(topic="break glass")
    assert {notice.person for notice in received} == {reader, viewer, auditor}
    assert "Reason: The shop is down." in received[0].text


def test_whoever_left_gets_nothing(prod_deployment: Deployment, requester: User, reader: User) -> None:
    reader.is_active = False
    reader.save()
    ask(prod_deployment, requester)
    assert not notices().exists()


# Choosing


def test_people_choose_their_own_messages(dev: Environment, viewer: User, requester: User) -> None:
    notifications.subscribe(viewer, [("freeze", dev.pk), ("waiting", None)], by=by(viewer))
    notifications.subscribe(viewer, [("freeze", dev.pk)], by=by(viewer))
    assert [(row.topic, row.environment) for row in viewer.subscriptions.filter(is_off=False)] == [("freeze", dev)]
    with refused("notifications.not_own"):
        notifications.subscribe(viewer, [], by=by(requester))
    with refused("notifications.topic"):
        notifications.subscribe(viewer, [("gossip", None)], by=by(viewer))


def test_an_environment_that_is_not_seen_is_not_there(prod: Environment, viewer: User) -> None:
    with refused("environment.unknown"):
        notifications.subscribe(viewer, [("freeze", prod.pk)], by=by(viewer))
    with refused("environment.unknown"):
        notifications.subscribe(viewer, [("freeze", 999)], by=by(viewer))


def test_what_was_chosen_for_an_environment_comes_back_with_the_grant(prod: Environment, viewer: User) -> None:
    Subscription.objects.create(person=viewer, topic="freeze", environment=prod)
    notifications.subscribe(viewer, [("freeze", None)], by=by(viewer))
    assert viewer.subscriptions.filter(topic="freeze").count() == 2


# Content


@pytest.mark.parametrize("evil", ["x\r\nBcc: everybody@evil.example", "x\nSubject: y", "x\u2028Bcc: z", "x\x85Bcc: z"])
def test_a_name_with_a_line_break_is_one_line(
    prod_deployment: Deployment, requester: User, reader: User, post: Post, evil: str
) -> None:
    Deployment.objects.update(full_name=evil)
    prod_deployment.refresh_from_db()
    ask(prod_deployment, requester, reason="<b>now</b>\r\n.\r\nQUIT")
    send_mails()
    (mail,) = post.mails
    assert mail["Subject"].endswith(f": {' '.join(evil.split())} in prod")
    assert mail["Bcc"] is None
    assert post.recipients == ["approver@portal.example"]
    assert "&lt;b&gt;now&lt;/b&gt;" in text_of(mail, "html")
    assert "<b>" not in text_of(mail, "html")
    # Unchanged, and it ended neither the message nor the SMTP session.
    assert "<b>now</b>\n.\nQUIT" in text_of(mail).replace("\r\n", "\n")
    assert text_of(mail).strip().endswith("/change/")


def test_an_address_that_would_be_a_header_is_refused_for_good(
    prod_deployment: Deployment, requester: User, reader: User, post: Post
) -> None:
    ask(prod_deployment, requester)
    notices()
    User.objects.filter(pk=reader.pk).update(email="a@portal.example\nBcc: b@evil.example")
    send_mails()
    assert post.mails == []
    assert sent().state == "failed"
    assert "a@portal.example" in sent().message


def test_without_a_public_address_the_mail_says_where_in_the_portal(
    prod_deployment: Deployment, requester: User, reader: User, post: Post, settings: Any
) -> None:
    settings.PUBLIC_URL = ""
    run_request = ask(prod_deployment, requester)
    send_mails()
    path = f"/admin/sign-in-again/?next=/admin/runs/runrequest/{run_request.pk}/change/"
    assert f"In the portal: {path}" in text_of(post.mails[0])


# Errors


def at_once(delivery: Delivery) -> None:
    """Its next attempt is due."""
    Delivery.objects.filter(pk=delivery.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))


def test_a_server_that_is_down_is_tried_again_and_given_up_with_a_sentence(
    prod_deployment: Deployment, requester: User, reader: User, settings: Any
) -> None:
    with post_office() as closed:
        pass
    settings.SMTP = {"host": "127.0.0.1", "port": closed.port, "timeout": 5}
    settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": settings.SMTP}}
    ask(prod_deployment, requester)
    waits = []
    for _ in range(notifications.MOST_ATTEMPTS - 1):
        before = timezone.now()
        send_mails()
        assert sent().state == "wanted"
        next_at = sent().next_attempt_at
        assert next_at
        waits.append(round((next_at - before) / timedelta(minutes=1)))
        send_mails()  # not due: nothing happens
        at_once(sent())
    assert waits == [1, 2, 4, 8, 16]
    retrying = sent().message
    assert "127.0.0.1" in retrying
    assert error_label(ConnectionRefusedError()) in retrying
    send_mails()
    assert (sent().state, sent().attempts) == ("failed", notifications.MOST_ATTEMPTS)
    assert retrying.startswith(sent().message), "without saying that it is tried again"
    assert retrying != sent().message
    at_once(sent())
    send_mails()
    assert sent().attempts == notifications.MOST_ATTEMPTS


@pytest.mark.parametrize(("answer", "state"), [("550 no such user", "failed"), ("451 come back later", "wanted")])
def test_an_address_that_is_refused_for_good_is_not_tried_again(
    prod_deployment: Deployment, requester: User, reader: User, post: Post, answer: str, state: str
) -> None:
    post.answer = answer
    ask(prod_deployment, requester)
    send_mails()
    assert sent().state == state
    assert error_label(smtplib.SMTPRecipientsRefused({})) in sent().message


def test_a_mail_is_sent_once(prod_deployment: Deployment, requester: User, reader: User, post: Post) -> None:
    ask(prod_deployment, requester)
    for _ in range(3):
        send_mails()
    assert len(post.mails) == 1


@pytest.mark.parametrize(
    ("email", "sends", "named"),
    [("", True, "approver "), ("a@portal.example", False, "PORTAL_MAIL_HOST")],
)
def test_what_cannot_be_sent_says_what_is_missing(
    prod_deployment: Deployment, requester: User, reader: User, settings: Any, email: str, sends: bool, named: str
) -> None:
    settings.SENDS_MAIL = sends
    ask(prod_deployment, requester)
    notices()
    # Deleted since.
    User.objects.filter(pk=reader.pk).update(email=email)
    send_mails()
    assert sent().state == "failed"
    assert named in sent().message


@pytest.mark.parametrize("email", ["", "nobody", "a@b\nBcc: c@d", "a b@c"])
def test_without_an_address_the_message_is_in_the_portal_and_no_delivery_fails(
    prod_deployment: Deployment, requester: User, reader: User, post: Post, email: str
) -> None:
    User.objects.filter(pk=reader.pk).update(email=email)
    ask(prod_deployment, requester)
    send_mails()
    assert only().person == reader
    assert not Delivery.objects.exists()
    assert post.mails == []


def test_a_repeated_email_has_the_same_id(
    prod_deployment: Deployment, requester: User, reader: User, post: Post
) -> None:
    ask(prod_deployment, requester)
    send_mails()
    # The process was killed before it recorded that.
    Delivery.objects.update(state="wanted", next_attempt_at=timezone.now() - timedelta(seconds=1))
    ask(prod_deployment, requester)
    send_mails()
    ids = [mail["Message-ID"] for mail in post.mails]
    assert (len(ids), len(set(ids))) == (3, 2)
    assert ids[0] == f"<{Delivery.objects.earliest('pk').key.hex}@portal.example>"
    assert ids[0] in ids[1:]


def test_a_mail_server_that_is_down_is_left_alone_and_one_that_answers_is_not(
    prod_deployment: Deployment, requester: User, reader: User, post: Post, settings: Any
) -> None:
    port = settings.SMTP["port"]
    with post_office() as closed:
        pass
    settings.SMTP["port"] = closed.port
    for _ in range(2):
        ask(prod_deployment, requester)
    send_mails()
    first, second = Delivery.objects.order_by("pk")
    assert (first.attempts, first.status, second.attempts) == (1, None, 0)
    assert notifications.EMAIL not in notifications.due_lanes()
    send_mails()
    assert Delivery.objects.get(pk=second.pk).attempts == 0, "it would wait for the same server"
    # It answers again, and refuses the first one: that holds up nothing.
    settings.SMTP["port"], post.answer = port, "451 come back later"
    at_once(first)
    send_mails()
    assert [(each.attempts, each.status) for each in Delivery.objects.order_by("pk")] == [(2, 451), (1, 451)]


def test_a_worker_that_died_leaves_the_message_to_the_next(
    prod_deployment: Deployment, requester: User, reader: User, post: Post
) -> None:
    ask(prod_deployment, requester)
    notices()
    Delivery.objects.update(attempts=1, next_attempt_at=timezone.now() + notifications.LEASE)
    send_mails()
    assert post.mails == []
    at_once(sent())
    send_mails()
    assert len(post.mails) == 1


def test_a_refusal_takes_its_messages_along(
    prod_deployment: Deployment, requester: User, reader: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Refused):
        ask(prod_deployment, requester, reason="")
    assert not notices().exists()
