"""Channels: who manages them, what is sent, and what follows from each answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import requests
from django.contrib.auth.models import User
from django.core.serializers.json import DjangoJSONEncoder
from django.utils import timezone
from standardwebhooks.webhooks import Webhook

from flows import encryption
from flows.models import Environment
from runs import key_rotation, notifications, tasks
from runs.actors import Actor
from runs.apprise_process import Answers
from runs.models import AuditEntry, Channel, Delivery, Notification, RowVersion
from runs.models.notification import Topic
from runs.notifications import channel_messages, channels, deliveries, pinned_http, sending
from tests.cast import by
from tests.receiver import Receiver, receiver
from tests.refusals import refused

pytestmark = pytest.mark.django_db

SECRET_PART = "T0KEN-SECRET"


@pytest.fixture
def other_side() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


@pytest.fixture
def room(other_side: Receiver, admin_user: User) -> channels.NewChannel:
    return new(admin_user, other_side.address)


def new(administrator: User, address: str, kind: str = "webhook", name: str = "room") -> channels.NewChannel:
    return channels.create(by=by(administrator), name=name, kind=kind, address=address, allows_private=True)


def message(*to: Channel, environment: Environment | None = None, text: str = "Why") -> Delivery:
    notice = notifications.create(None, Topic.FREEZE, environment, "dev is frozen", text, environment, to)
    return notice.deliveries.latest("pk")


def again(delivery: Delivery) -> Delivery:
    """The row as it is stored now."""
    return Delivery.objects.select_related("channel").get(pk=delivery.pk)


def due() -> None:
    """Let the time pass until the next attempt."""
    past = timezone.now() - timedelta(seconds=1)
    Delivery.objects.filter(state="wanted").update(next_attempt_at=past)
    Channel.objects.exclude(next_attempt_at=None).update(next_attempt_at=past)


# Sending


def test_a_webhook_receives_a_signed_message_with_a_link(
    room: channels.NewChannel, other_side: Receiver, dev: Environment, settings: Any
) -> None:
    settings.PUBLIC_URL = "https://portal.example"
    delivery = message(room.channel, environment=dev)
    tasks.send_deliveries(room.channel.pk)
    (received,) = other_side.requests
    body = Webhook(room.secret).verify(received.body, received.headers)
    assert received.headers["webhook-id"] == f"msg_{delivery.key.hex}"
    assert (body["type"], body["data"]["environment"]) == ("notification.freeze", "dev")
    assert body["data"]["url"] == f"https://portal.example/admin/flows/environment/{dev.pk}/change/"
    assert (again(delivery).state, again(delivery).status, again(delivery).answer) == ("sent", 200, "ok")
    tasks.send_deliveries(room.channel.pk)
    assert len(other_side.requests) == 1


@pytest.mark.parametrize(
    ("status", "state", "failures"), [(503, "wanted", 1), (429, "wanted", 1), (404, "failed", 0), (302, "failed", 0)]
)
def test_an_answer_decides_whether_the_message_is_sent_again_with_the_same_id(
    room: channels.NewChannel, other_side: Receiver, status: int, state: str, failures: int
) -> None:
    other_side.status = status
    delivery = message(room.channel)
    tasks.send_deliveries(room.channel.pk)
    assert (again(delivery).state, again(delivery).status) == (state, status)
    assert Channel.objects.get().failures == failures
    other_side.status = 200
    due()
    tasks.send_deliveries(room.channel.pk)
    ids = {each.headers["webhook-id"] for each in other_side.requests}
    assert (len(ids), len(other_side.requests)) == (1, 2 if state == "wanted" else 1)
    assert Channel.objects.get().failures == 0


@pytest.mark.parametrize(
    ("header", "seconds"), [("7200", 7200), ("Fri, 31 Dec 2100 23:59:59 GMT", 6 * 3600), ("soon", 60), ("", 60)]
)
def test_a_channel_is_left_alone_as_long_as_it_asks(
    room: channels.NewChannel, other_side: Receiver, header: str, seconds: int
) -> None:
    other_side.status, other_side.headers = 429, {"Retry-After": header}
    first, second = message(room.channel), message(room.channel)
    before = timezone.now()
    tasks.send_deliveries(room.channel.pk)
    next_at = Channel.objects.get().next_attempt_at
    assert next_at
    assert abs((next_at - before).total_seconds() - seconds) < 5
    # Neither is sent before.
    tasks.send_deliveries(room.channel.pk)
    assert [again(each).attempts for each in (first, second)] == [1, 0]
    assert room.channel.pk not in notifications.due_lanes()


def test_an_address_that_is_gone_disables_the_channel_and_says_so(
    room: channels.NewChannel, other_side: Receiver, admin_user: User, auditor: User, viewer: User
) -> None:
    other_side.status = 410
    first, second = message(room.channel), message(room.channel)
    tasks.send_deliveries(room.channel.pk)
    channel = Channel.objects.get()
    assert (channel.is_enabled, channel.disabled_why) == (False, channels.GONE)
    assert (again(first).status, again(first).state) == (410, "failed")
    assert AuditEntry.objects.filter(verb="channel.disable", actor_kind="system").count() == 1
    told = Notification.objects.filter(topic=Topic.CHANNEL, text__contains=channels.GONE)
    assert {each.person for each in told} == {admin_user, auditor}
    tasks.send_deliveries(channel.pk)
    assert again(second).state == "failed"
    assert len(other_side.requests) == 1
    with refused("channel.disabled"):
        channels.send_test(channel, by=by(admin_user))


def test_one_that_does_not_answer_is_tried_less_and_less_and_given_up(
    admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiver() as gone:
        pass
    channel = new(admin_user, gone.address).channel
    delivery = message(channel)
    rests = []
    for _ in range(deliveries.MOST_ATTEMPTS):
        before = timezone.now()
        tasks.send_deliveries(channel.pk)
        next_at = Channel.objects.get().next_attempt_at
        assert next_at
        rests.append(round((next_at - before) / timedelta(minutes=1)))
        due()
    assert rests == [1, 2, 4, 8, 16, 16]
    assert (again(delivery).state, again(delivery).status) == ("failed", None)
    # The rest of what waits for it ends too, however many there are.
    other = message(channel)
    Delivery.objects.filter(pk=other.pk).update(queued_at=timezone.now() - deliveries.LONGEST_DELAY)
    tasks.send_deliveries(channel.pk)
    assert (again(other).state, again(other).attempts) == ("failed", 0)


def test_a_worker_that_died_leaves_the_message_to_the_next_with_the_same_id(
    room: channels.NewChannel, other_side: Receiver
) -> None:
    delivery = message(room.channel)
    assert deliveries.claim(again(delivery))
    tasks.send_deliveries(room.channel.pk)
    assert other_side.requests == [], "it is leased"
    due()
    assert room.channel.pk in notifications.due_lanes()
    tasks.send_deliveries(room.channel.pk)
    assert other_side.requests[0].headers["webhook-id"] == channel_messages.message_id(delivery)


# Kinds


def test_text_is_no_markup_in_a_chat(admin_user: User, other_side: Receiver, settings: Any, dev: Environment) -> None:
    settings.PUBLIC_URL = "https://portal.example"
    evil = "<!channel> *x* [here](https://evil.example) <https://evil.example|ok>\nsecond"
    for kind in ("slack", "teams"):
        channel = new(admin_user, other_side.address, kind, kind).channel
        message(channel, environment=dev, text=evil)
        Notification.objects.filter(topic=Topic.FREEZE).update(subject=evil.splitlines()[0])
        tasks.send_deliveries(channel.pk)
    slack, teams = (json.loads(each.body) for each in other_side.requests)
    assert slack["text"].startswith("&lt;!channel&gt;")
    header, section, link = slack["blocks"]
    assert {header["text"]["type"], section["text"]["type"]} == {"plain_text"}
    assert link["text"]["text"].startswith("<https://portal.example/admin/flows/environment/")
    (card,) = (each["content"] for each in teams["attachments"])
    assert [each["type"] for each in card["body"]] == ["RichTextBlock"] * 3
    (action,) = card["actions"]
    assert action["type"] == "Action.OpenUrl", "nothing is approved in a chat"
    assert all("webhook-signature" not in each.headers for each in other_side.requests)


def test_another_service_is_sent_to_by_a_process_of_its_own(other_side: Receiver) -> None:
    """With an address of Apprise's own kind for tests, which no channel can have."""
    address = f"json://127.0.0.1:{other_side.port}/x"
    body = json.dumps({"title": "One", "body": "Two"}).encode()
    other_side.text = "queued as 17"
    assert sending.send_by_apprise(address, body) == pinned_http.Answer(200, "queued as 17", None)
    assert json.loads(other_side.requests[0].body)["title"] == "One"
    other_side.status, other_side.text, other_side.headers = 503, "full", {"Retry-After": "70"}
    assert sending.send_by_apprise(address, body) == pinned_http.Answer(503, "full", timedelta(seconds=70))
    other_side.status, other_side.text, other_side.headers = 410, "gone", {}
    assert sending.send_by_apprise(address, body) == pinned_http.Answer(410, "gone", None)
    with pytest.raises(pinned_http.NoAnswer):
        sending.send_by_apprise("json://127.0.0.1:9/x", body)
    with pytest.raises(pinned_http.NoAnswer):
        sending.send_by_apprise("nothing://x", body)


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("pagerduty://INTEGRATION-1@KEY-000001", "unknown key KEY-000001"),
        ("pagerduty://INTEGRATION-1@KEY-000001", "unknown: INTEGRATION-1"),
        ("tgram://123456789:AAbb_cc-dd/1", "bot AAbb_cc-dd is unknown"),
        ("discord://4174216298/JHMHI8qBe7bk2ZwO", "no webhook 4174216298"),
        ("https://example.com/a%20secret", "unknown: a secret"),
    ],
)
def test_an_answer_that_quotes_a_key_is_not_stored(address: str, text: str) -> None:
    assert sending.clean(text, address, "") == "The answer quotes the address and is not shown."
    assert sending.clean("too many messages", address, "") == "too many messages"


@pytest.mark.parametrize(
    ("statuses", "is_sent", "status"),
    [
        ([204], True, 204),
        # One of its calls failed, and the service has the message all the same.
        ([200, 410], True, 200),
        ([410], True, None),
        ([200, 429], False, 429),
        # Refused in the text of an answer.
        ([200], False, None),
        ([], False, None),
    ],
)
def test_an_answer_counts_that_says_what_apprise_says(statuses: list[int], is_sent: bool, status: int | None) -> None:
    answers = Answers()
    for each in statuses:
        answer = requests.Response()
        answer.status_code, answer.encoding, answer._content = each, "utf-8", b"said"
        answers.found.append(answer)
    assert answers.last(is_sent=is_sent).get("status") == status


def test_another_service_is_reached_through_a_proxy_only_if_the_setting_says_so(
    other_side: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"json://127.0.0.1:{other_side.port}/x"
    body = json.dumps({"title": "One", "body": "Two"}).encode()
    with receiver() as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        sending.send_by_apprise(address, body)
        assert (len(other_side.requests), len(proxy.requests)) == (1, 0)
        settings.OUTGOING_PROXY = f"http://127.0.0.1:{proxy.port}"
        sending.send_by_apprise(address, body)
        assert (len(other_side.requests), len(proxy.requests)) == (1, 1)


@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("webhook", "ftp://example.com/x"),
        ("webhook", "https://user:password@example.com/x"),
        ("webhook", "https://example.com/x y"),
        ("webhook", "https://[::1"),
        ("webhook", "http://example.com/x"),
        ("slack", "https:///x"),
        ("teams", "https://example.com/#x"),
        ("service", "json://127.0.0.1/x"),
        ("service", "https://example.com/x"),
        ("service", "tgram://"),
        ("service", "tgram://123:abc/1?verify=no"),
        ("webhook", ""),
        ("webhook", "https://example.com/" + "x" * 2000),
    ],
)
def test_an_address_that_is_not_of_its_kind_is_refused_without_quoting_it(
    admin_user: User, kind: str, address: str
) -> None:
    with refused("channel.address") as refusal:
        channels.create(by=by(admin_user), name="room", kind=kind, address=address)
    assert "example.com" not in str(refusal.value)
    assert not Channel.objects.exists()


# Private networks


def test_a_private_network_is_not_reached_without_permission(
    admin_user: User, other_side: Receiver, room: channels.NewChannel
) -> None:
    address = f"https://localhost:{other_side.port}/x"
    channels.change(room.channel, by=by(admin_user), name="room", address=address, allows_private=False)
    delivery = message(room.channel)
    tasks.send_deliveries(room.channel.pk)
    assert (again(delivery).state, again(delivery).status) == ("failed", None)
    assert other_side.requests == []


def test_a_redirect_is_not_followed(room: channels.NewChannel, other_side: Receiver) -> None:
    with receiver() as elsewhere:
        other_side.status, other_side.headers = 307, {"Location": elsewhere.address}
        message(room.channel)
        tasks.send_deliveries(room.channel.pk)
        assert len(other_side.requests) == 1
        assert elsewhere.requests == []


# What is secret


def test_an_address_is_nowhere_but_in_its_sealed_column(
    room: channels.NewChannel, other_side: Receiver, admin_user: User
) -> None:
    other_side.text = f"no such path: /services/{SECRET_PART}"
    delivery = message(room.channel)
    other_side.status = 404
    tasks.send_deliveries(room.channel.pk)
    channels.change(room.channel, by=by(admin_user), name="room", address=other_side.address, allows_private=True)
    rows = [
        *AuditEntry.objects.values(),
        *RowVersion.objects.filter(table_name="runs_channel").values(),
        *Notification.objects.values(),
        *Delivery.objects.values(),
    ]
    text = json.dumps(rows, cls=DjangoJSONEncoder, default=str)
    assert SECRET_PART not in text
    assert room.secret not in text
    assert again(delivery).answer
    assert repr(room) == "NewChannel(room)"
    channel = Channel.objects.get()
    assert encryption.unseal(channel.sealed_address) == other_side.address
    assert {(Channel, "sealed_address"), (Channel, "sealed_secret")} <= set(key_rotation.columns())


# Who may


@pytest.mark.parametrize(
    "act",
    [
        lambda channel, delivery, actor: new(actor.user, "https://example.com/x", name="other"),
        lambda channel, delivery, actor: channels.change(channel, by=actor, name="x", allows_private=True),
        lambda channel, delivery, actor: channels.set_enabled(channel, False, by=actor),
        lambda channel, delivery, actor: channels.replace_secret(channel, by=actor),
        lambda channel, delivery, actor: channels.send_test(channel, by=actor),
        lambda channel, delivery, actor: channels.replay(delivery, by=actor),
    ],
)
def test_only_administrators_manage_channels_and_no_token(
    room: channels.NewChannel, admin_user: User, auditor: User, act: Any
) -> None:
    delivery = message(room.channel)
    token = Actor.program(admin_user, token_id="x", scope=())
    for actor in (by(auditor), token):
        if actor is token and act.__code__.co_names[:1] == ("new",):
            continue
        with refused("access.administrators_only"):
            act(room.channel, again(delivery), actor)
    channel = Channel.objects.get()
    assert (channel.name, channel.is_enabled) == ("room", True)
    assert Delivery.objects.filter(channel=channel).count() == 1


def test_overseers_are_told_where_messages_go(admin_user: User, auditor: User, viewer: User) -> None:
    notifications.subscribe(viewer, [(Topic.CHANNEL, None)], by=by(viewer))
    room = new(admin_user, "https://example.org/x")
    channels.change(room.channel, by=by(admin_user), name="room", address="https://example.com/x", allows_private=True)
    channels.change(room.channel, by=by(admin_user), name="renamed", allows_private=True)
    told = Notification.objects.filter(topic=Topic.CHANNEL)
    assert {each.person for each in told} == {admin_user, auditor}
    assert told.filter(person=auditor).count() == 2
    assert "example.com" in told.filter(person=auditor).latest("pk").text


def test_a_message_is_sent_once_more_with_the_same_id(
    room: channels.NewChannel, other_side: Receiver, admin_user: User
) -> None:
    delivery = channels.send_test(room.channel, by=by(admin_user))
    with refused("delivery.queued"):
        channels.replay(again(delivery), by=by(admin_user))
    tasks.send_deliveries(room.channel.pk)
    channels.replay(again(delivery), by=by(admin_user))
    tasks.send_deliveries(room.channel.pk)
    first, second = other_side.requests
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    made = channels.replace_secret(room.channel, by=by(admin_user))
    channels.replay(again(delivery), by=by(admin_user))
    tasks.send_deliveries(room.channel.pk)
    Webhook(made.secret).verify(other_side.requests[2].body, other_side.requests[2].headers)
