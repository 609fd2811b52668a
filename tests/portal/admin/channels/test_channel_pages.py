"""The pages of channels: who sees them, that no address is shown, and what the other side answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from runs import tasks
from runs.models import Channel, Delivery
from tests.portal.page_elements import refusal_codes
from tests.portal.page_text import Page
from tests.receiver import Receiver, receiver

pytestmark = pytest.mark.django_db

NEW = reverse("admin:runs_channel_new")
LIST = reverse("admin:runs_channel_changelist")
Login = Callable[[User], Client]


@pytest.fixture
def other_side() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def typed(address: str, **values: str) -> dict[str, str]:
    return {"name": "room", "kind": "webhook", "address": address, "allows_private": "on", "newest": "0"} | values


def test_one_is_made_tested_and_shows_what_the_other_side_answered(
    admin_user: User, login: Login, other_side: Receiver
) -> None:
    client = login(admin_user)
    made = client.post(NEW, typed(other_side.address))
    page = made.content.decode()
    assert "whsec_" in page
    assert "T0KEN" not in page
    assert "no-store" in made.headers["Cache-Control"]
    # Sent twice: the second makes none, and shows no secret.
    assert "whsec_" not in client.post(NEW, typed(other_side.address)).content.decode()
    channel = Channel.objects.get()
    other_side.text = "<b>thanks</b>"
    answer = client.post(reverse("admin:runs_channel_test", args=[channel.pk]))
    delivery = Delivery.objects.get(channel=channel)
    address = reverse("admin:runs_channel_delivery", args=[channel.pk, delivery.pk])
    assert answer.url == address  # type: ignore[attr-defined]  # a redirect
    tasks.send_deliveries(channel.pk)
    assert "<b>thanks</b>" in Page(client.get(address).content.decode()).text
    client.post(reverse("admin:runs_channel_replay", args=[channel.pk, delivery.pk]))
    tasks.send_deliveries(channel.pk)
    assert len(other_side.requests) == 2
    for path in (LIST, reverse("admin:runs_channel_change", args=[channel.pk]), address):
        text = client.get(path).content.decode()
        assert "T0KEN" not in text
        assert "whsec_" not in text
    replaced = client.post(reverse("admin:runs_channel_replace_secret", args=[channel.pk])).content.decode()
    assert "whsec_" in replaced


def test_a_change_without_an_address_keeps_the_stored_one(admin_user: User, login: Login, other_side: Receiver) -> None:
    client = login(admin_user)
    client.post(NEW, typed(other_side.address))
    channel = Channel.objects.get()
    edit = reverse("admin:runs_channel_edit", args=[channel.pk])
    assert "T0KEN" not in client.get(edit).content.decode()
    client.post(edit, {"name": "renamed", "allows_private": "on"})
    channel.refresh_from_db()
    assert (channel.name, channel.destination) == ("renamed", f"127.0.0.1:{other_side.port}")
    # Without private networks an address with http:// is none.
    assert "errorlist" in client.post(edit, {"name": "renamed"}).content.decode()
    channel.refresh_from_db()
    assert channel.allows_private


def test_a_wrong_address_is_not_repeated(admin_user: User, login: Login) -> None:
    page = login(admin_user).post(NEW, typed("ftp://example.org/T0KEN")).content.decode()
    assert "errorlist" in page
    assert "T0KEN" not in page
    assert not Channel.objects.exists()


def test_auditors_look_and_others_find_nothing(
    admin_user: User, auditor: User, viewer: User, login: Login, other_side: Receiver
) -> None:
    login(admin_user).post(NEW, typed(other_side.address))
    channel = Channel.objects.get()
    page = reverse("admin:runs_channel_change", args=[channel.pk])
    test = reverse("admin:runs_channel_test", args=[channel.pk])
    reader, stranger = login(auditor), login(viewer)
    assert reader.get(page).status_code == 200
    assert refusal_codes(reader.post(test, follow=True)) == {"access.administrators_only"}
    assert stranger.get(LIST).status_code == 403
    assert stranger.get(page).status_code == 404
    assert stranger.post(test).status_code == 404
    assert not Delivery.objects.filter(channel=channel).exists()


def test_a_delivery_of_another_channel_is_not_found(admin_user: User, login: Login, other_side: Receiver) -> None:
    client = login(admin_user)
    for name in ("one", "two"):
        client.post(NEW, typed(other_side.address, name=name))
    one, two = Channel.objects.order_by("name")
    client.post(reverse("admin:runs_channel_test", args=[one.pk]))
    delivery = Delivery.objects.get(channel=one)
    assert client.get(reverse("admin:runs_channel_delivery", args=[two.pk, delivery.pk])).status_code == 404
    client.post(reverse("admin:runs_channel_disable", args=[one.pk]), {"reason": "Moved"})
    one.refresh_from_db()
    assert (one.is_enabled, one.disabled_why) == (False, "Moved")
    client.post(reverse("admin:runs_channel_enable", args=[one.pk]))
    one.refresh_from_db()
    assert one.is_enabled
