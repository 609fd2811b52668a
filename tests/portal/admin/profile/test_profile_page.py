"""The profile: each user sees and sets only their own."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Environment
from portal.auth import browser_sessions
from portal.models import BrowserSession, Profile
from runs.actors import Actor
from runs.governance import grants
from runs.models import AuditEntry, ChangeRequest, EmailSettings
from tests.cast import person
from tests.portal.page_elements import message_codes

pytestmark = pytest.mark.django_db

PASSWORD = "Xk7-long-enough"
PROFILE = reverse("profile")
Login = Callable[[User], Client]


@pytest.fixture
def somebody(db: None) -> User:
    user = person("somebody", email="old@example.com")
    user.set_password(PASSWORD)
    user.save()
    return user


@pytest.fixture
def client(somebody: User) -> Client:
    return signed_in(somebody)


def signed_in(user: User, browser: str = "Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0") -> Client:
    client = Client(headers={"User-Agent": browser})
    answer = client.post(reverse("admin:login"), {"username": user.username, "password": PASSWORD})
    assert answer.status_code == 302
    return client


def text_of(client: Client) -> str:
    return client.get(PROFILE).content.decode()


def verbs() -> list[str]:
    return list(AuditEntry.objects.order_by("sequence").values_list("verb", flat=True))


def open_in(environment: Environment, user: User) -> None:
    grants.grant(by=Actor.system(), person=user, verbs=["approve"], environment=environment, reason="test")


# Time zone


def test_times_are_in_the_zone_that_the_reader_chose(client: Client, somebody: User) -> None:
    client.post(reverse("profile_time_zone"), {"time_zone": "Asia/Tokyo"})
    assert Profile.objects.get().time_zone == "Asia/Tokyo"
    page = client.get("/admin/runs/run/").content.decode()
    assert '<meta name="portal-zone" content="Asia/Tokyo">' in page
    assert "JST" in text_of(client)
    assert AuditEntry.objects.get(verb="profile.change").after == {"time_zone": "Asia/Tokyo"}


def test_one_readers_zone_is_not_anothers(client: Client, viewer: User, login: Login) -> None:
    client.post(reverse("profile_time_zone"), {"time_zone": "Asia/Tokyo"})
    client.get(PROFILE)
    assert 'content="UTC"' in login(viewer).get(PROFILE).content.decode()
    assert timezone.get_current_timezone_name() == "UTC"


def test_a_blank_zone_is_the_portals(client: Client) -> None:
    client.post(reverse("profile_time_zone"), {"time_zone": "Asia/Tokyo"})
    client.post(reverse("profile_time_zone"), {"time_zone": ""})
    assert 'content="UTC"' in text_of(client)


@pytest.mark.parametrize("name", ["Mars/Base", "../../etc/passwd", "x" * 300])
def test_an_unknown_zone_is_refused(client: Client, name: str) -> None:
    client.post(reverse("profile_time_zone"), {"time_zone": name})
    assert message_codes(client.get(PROFILE)) == ["profile.time_zone"]
    assert not Profile.objects.exists()


def test_a_zone_that_the_system_has_no_more_does_no_harm(client: Client, somebody: User) -> None:
    Profile.objects.create(user=somebody, time_zone="Europe/Atlantis")
    assert client.get(PROFILE).status_code == 200


# Email address


def test_an_own_address_is_changed_with_the_password(client: Client, somebody: User) -> None:
    client.post(reverse("profile_email"), {"email": "new@example.com", "password": PASSWORD})
    somebody.refresh_from_db()
    assert somebody.email == "new@example.com"
    entry = AuditEntry.objects.get(verb="person.change")
    assert (entry.before, entry.after) == ({"email": "old@example.com"}, {"email": "new@example.com"})


def test_an_unattended_browser_does_not_change_the_address(client: Client, somebody: User) -> None:
    answer = client.post(reverse("profile_email"), {"email": "new@example.com", "password": "wrong"})
    assert answer.status_code == 200
    somebody.refresh_from_db()
    assert somebody.email == "old@example.com"


def test_wrong_passwords_are_slowed_down(client: Client) -> None:
    answers = [
        client.post(reverse("profile_email"), {"email": "new@example.com", "password": "wrong"}) for _ in range(12)
    ]
    assert answers[-1].status_code == 429


def test_an_invalid_address_is_refused(client: Client, somebody: User) -> None:
    client.post(reverse("profile_email"), {"email": "nobody", "password": PASSWORD})
    somebody.refresh_from_db()
    assert somebody.email == "old@example.com"


def test_the_address_of_who_opens_a_protected_environment_waits_for_an_administrator(
    client: Client, somebody: User, prod: Environment, admin_user: User
) -> None:
    open_in(prod, somebody)
    values = {"email": "new@example.com", "password": PASSWORD}
    page = client.post(reverse("profile_email"), values).content.decode()
    assert 'data-loosening="account.email"' in page
    client.post(reverse("profile_email"), values | {"loosening_reason": "Married", "loosening_confirm": "prod"})
    somebody.refresh_from_db()
    # Until it is approved, links for a new password go to the old address.
    assert somebody.email == "old@example.com"
    change = ChangeRequest.objects.get()
    assert (change.state, change.rule_change.act) == ("waiting", "person.change")


# Name


def test_the_name_is_saved_and_recorded(client: Client, somebody: User) -> None:
    client.post(reverse("profile_name"), {"first_name": " Ann ", "last_name": "O'Neill"})
    somebody.refresh_from_db()
    assert somebody.get_full_name() == "Ann O'Neill"
    assert "Ann O&#x27;Neill" in text_of(client)
    entry = AuditEntry.objects.get(verb="person.change")
    assert (entry.after["first_name"], entry.outcome) == ("Ann", "done")
    client.post(reverse("profile_name"), {})
    somebody.refresh_from_db()
    assert somebody.get_full_name() == ""


@pytest.mark.parametrize(
    ("name", "code"),
    [("a\u200bb", "person.name_unclear"), ("\u0430dmin", "person.name_unclear"), ("x" * 151, "person.invalid")],
)
def test_a_name_that_cannot_be_read_is_refused(client: Client, somebody: User, name: str, code: str) -> None:
    answer = client.post(reverse("profile_name"), {"first_name": name, "last_name": ""}, follow=True)
    assert message_codes(answer) == [code]
    somebody.refresh_from_db()
    assert somebody.first_name == ""


# Sessions


def test_a_browser_is_listed_with_what_it_is(client: Client, somebody: User) -> None:
    signed_in(somebody, "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) Safari/604.1")
    page = text_of(client)
    assert "Firefox on Linux" in page
    assert "Safari on iPhone" in page
    assert page.count("this one") == 1


def test_the_sessions_of_others_are_not_listed(client: Client, viewer: User, login: Login) -> None:
    assert "Firefox" not in login(viewer).get(PROFILE).content.decode()


def test_all_other_browsers_are_signed_out(client: Client, somebody: User, viewer: User, login: Login) -> None:
    other, stranger = signed_in(somebody), login(viewer)
    client.post(reverse("profile_end_sessions"))
    assert other.get(PROFILE).status_code == 302
    assert client.get(PROFILE).status_code == 200
    assert stranger.get(PROFILE).status_code == 200
    assert AuditEntry.objects.get(verb="session.end_others").after == {"sessions": 1}


def number_of(client: Client) -> str:
    return browser_sessions.number_of(str(client.session.session_key))


def end(client: Client, number: str) -> list[str]:
    return message_codes(client.post(reverse("profile_end_session"), {"session": number}, follow=True))


def test_one_other_browser_is_signed_out(client: Client, somebody: User) -> None:
    phone, laptop = signed_in(somebody, "Mozilla/5.0 (iPhone) Safari/604.1"), signed_in(somebody)
    number = number_of(phone)
    assert number in text_of(client)
    end(client, number)
    assert phone.get(PROFILE).status_code == 302
    assert laptop.get(PROFILE).status_code == client.get(PROFILE).status_code == 200
    assert "iPhone" in AuditEntry.objects.get(verb="session.end").before["browser"]
    assert end(client, number) == ["session.unknown"]


def test_neither_ones_own_session_nor_that_of_another_person_is_ended(
    client: Client, viewer: User, login: Login
) -> None:
    other = login(viewer)
    for number in (number_of(client), number_of(other), "", "x", str(client.session.session_key)):
        assert end(client, number) == ["session.unknown"]
    assert other.get(PROFILE).status_code == client.get(PROFILE).status_code == 200
    assert str(client.session.session_key) not in text_of(client)


def test_expired_sessions_go_with_the_next_sign_in(client: Client, somebody: User) -> None:
    BrowserSession.objects.update(expire_date=timezone.now() - timedelta(hours=1))
    signed_in(somebody)
    assert BrowserSession.objects.filter(user=somebody).count() == 1


def test_a_session_is_still_listed_after_a_new_password(client: Client, somebody: User) -> None:
    new = "Another-Long-1"
    client.post(
        reverse("admin:password_change"), {"old_password": PASSWORD, "new_password1": new, "new_password2": new}
    )
    assert "Firefox on Linux" in text_of(client)


def test_nobody_reads_a_profile_without_signing_in() -> None:
    assert Client().get(PROFILE).status_code == 302


def test_the_profile_costs_the_same_queries_for_many_sessions(
    client: Client, somebody: User, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    for _ in range(10):
        signed_in(somebody)
    with django_assert_max_num_queries(20):  # type: ignore[attr-defined]
        client.get(PROFILE)


# When email is sent


def test_when_email_is_sent_is_chosen_and_shown(client: Client, somebody: User) -> None:
    address = reverse("profile_email_times")
    sent = {"quiet_from": "22:00", "quiet_until": "07:00", "digest": "daily", "digest_hour": "9", "merge_minutes": "5"}
    client.post(address, sent)
    chosen = EmailSettings.objects.get(person=somebody)
    assert (chosen.quiet_from, chosen.digest, chosen.digest_hour) == (time(22), "daily", 9)
    assert not chosen.urgent_at_once, "an empty box is not sent"
    form = client.get(PROFILE).context["times_form"]
    assert form["quiet_from"].value() == time(22)
    for wrong in ({"quiet_until": ""}, {"digest": "weekly"}, {"merge_minutes": "x"}, {"digest_hour": "24"}):
        client.post(address, {**sent, **wrong})
    assert EmailSettings.objects.get(person=somebody).merge_minutes == 5
