"""Channels and deliveries through the API: who reads them, and that no address or secret is among it."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from django.contrib.auth.models import Group, User

from flows.models import Environment
from portal.api.api import api
from runs import notifications
from runs.models import Delivery, TokenScope
from runs.models.notification import Topic
from runs.notifications import channels, notification_rules
from tests.cast import by
from tests.portal.api.programs import Programs

pytestmark = pytest.mark.django_db
ADDRESS = "https://hooks.example.org/services/T0KEN-SECRET"


@pytest.fixture
def room(admin_user: User) -> channels.NewChannel:
    return channels.create(by=by(admin_user), name="room", kind="webhook", address=ADDRESS)


@pytest.fixture
def delivery(room: channels.NewChannel, dev: Environment) -> Delivery:
    notice = notifications.create(None, Topic.FREEZE, dev, "dev is frozen", "Why", dev, [room.channel])
    Delivery.objects.filter(notification=notice).update(state="failed", status=503, answer="later", attempts=6)
    return notice.deliveries.get()


def test_a_token_that_reads_the_trail_lists_channels_and_what_was_sent(
    delivery: Delivery, room: channels.NewChannel, auditor: User, program: Programs
) -> None:
    caller = program(auditor, reads_trail=True)
    (channel,) = caller.get("/channels?enabled=true&kind=webhook").body["items"]
    assert (channel["name"], channel["destination"], channel["failures"]) == ("room", "hooks.example.org", 0)
    assert caller.get(f"/channels/{channel['id']}").body.keys() == channel.keys()
    (row,) = caller.get("/deliveries?channel=room&state=failed&topic=freeze&environment=dev&email=false").body["items"]
    assert (row["status"], row["answer"], row["attempts"]) == (503, "later", 6)
    assert row["message_id"] == f"msg_{delivery.key.hex}"
    assert row["url"].endswith(f"/channel/{channel['id']}/deliveries/{delivery.pk}/")
    everything = json.dumps([channel, row])
    assert "T0KEN" not in everything
    assert room.secret not in everything


def test_others_see_no_channel_and_only_their_own_emails(
    delivery: Delivery, dev: Environment, auditor: User, requester: User, viewer: User, program: Programs
) -> None:
    for person in (requester, viewer):
        person.email = f"{person}@portal.example"
        notifications.create(person, Topic.FREEZE, dev, f"for {person}", "", dev)
    for caller in (program(auditor), program(requester)):
        assert caller.get("/channels").body["items"] == []
        assert caller.get(f"/channels/{delivery.channel_id}").status == 404
    (row,) = program(requester).get("/deliveries").body["items"]
    assert (row["subject"], row["channel"], row["url"]) == ("for requester", None, "")
    assert UUID(row["message_id"].strip("<>").partition("@")[0])
    # As its notifications: a scope that does not cover all of the environment lists none.
    narrow = program(requester, TokenScope(verbs=["see", "see logs"], environment=dev, tag="crm"))
    assert narrow.get("/deliveries").body["items"] == []


def test_no_token_administers_a_channel() -> None:
    """The services refuse it too: tests/runs/notifications/test_channels.py."""
    paths = api.get_openapi_schema()["paths"]
    rooms = ("/api/v1/channels", "/api/v1/deliveries")
    found = {path: set(methods) for path, methods in paths.items() if path.startswith(rooms)}
    assert len(found) == 3
    assert set().union(*found.values()) == {"get"}


def test_a_token_that_reads_the_trail_lists_the_rules_of_groups_and_channels(
    room: channels.NewChannel, admin_user: User, auditor: User, viewer: User, dev: Environment, program: Programs
) -> None:
    group = Group.objects.get(name="Operator")
    notification_rules.create("own", ["failed"], by=by(viewer))
    for receiver in ({"group": group}, {"channel": room.channel}):
        notification_rules.create("theirs", ["failed"], by=by(admin_user), **receiver)
    assert program(auditor).get("/notification-rules").body["items"] == []
    caller = program(auditor, reads_trail=True)
    found = caller.get("/notification-rules").body["items"]
    assert {(each["person"], each["group"], each["channel"]) for each in found} == {
        (None, "Operator", None),
        (None, None, "room"),
    }
    assert [each["channel"] for each in caller.get("/notification-rules?channel=room").body["items"]] == ["room"]
