"""Guessing passwords: how soon it is slowed down, what is told, and that nobody is locked out by it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from portal.auth import throttle
from portal.models import FailedAttempts
from runs.models import AuditEntry
from tests.portal.page_elements import form_errors

pytestmark = pytest.mark.django_db

SIGN_IN, PASSWORD = reverse("admin:login"), reverse("admin:password_change")
RIGHT, WRONG = "right-horse-battery", "wrong-horse-battery"
Login = Callable[[User], Client]


@pytest.fixture(autouse=True)
def otto(db: None) -> User:
    return User.objects.create_user("otto", password=RIGHT, is_staff=True)


def sign_in(
    name: str = "otto", password: str = WRONG, *, client: Client | None = None, address: str = "192.0.2.9"
) -> int:
    """The status: 302 signed in, 200 a wrong password, 429 throttled."""
    browser = client or Client()
    return browser.post(SIGN_IN, {"username": name, "password": password}, REMOTE_ADDR=address).status_code


def fail(times: int, **where: str) -> list[int]:
    return [sign_in(**where) for _ in range(times)]


def wait(seconds: float) -> None:
    """Let time pass for all counts."""
    for row in FailedAttempts.objects.all():
        row.blocked_until = row.blocked_until and row.blocked_until - timedelta(seconds=seconds)
        row.expires_at -= timedelta(seconds=seconds)
        row.save()


def test_after_five_failures_not_even_the_right_password_counts_for_a_while() -> None:
    assert fail(5) == [200] * 5
    answer = Client().post(SIGN_IN, {"username": "otto", "password": RIGHT}, REMOTE_ADDR="192.0.2.9")
    assert (answer.status_code, answer["Retry-After"]) == (429, "5")
    assert form_errors(answer) == {("__all__", "sign_in.throttled")}
    wait(5)
    assert sign_in(password=RIGHT) == 302


def test_the_wait_doubles_up_to_five_minutes() -> None:
    fail(4)
    waits = []
    for _ in range(9):
        assert sign_in() == 200
        answer = Client().post(SIGN_IN, {"username": "otto", "password": WRONG}, REMOTE_ADDR="192.0.2.9")
        waits.append(int(answer["Retry-After"]))
        wait(waits[-1])
    assert waits == [5, 10, 20, 40, 80, 160, 300, 300, 300]


def test_attempts_while_throttled_do_not_prolong_the_wait() -> None:
    fail(5)
    assert fail(20) == [429] * 20
    wait(5)
    assert sign_in(password=RIGHT) == 302


def test_a_success_or_a_quarter_of_an_hour_begins_the_count_again() -> None:
    fail(4)
    assert sign_in(password=RIGHT) == 302
    assert fail(5) == [200] * 5
    wait(throttle.FORGOTTEN_AFTER.total_seconds())
    assert fail(5) == [200] * 5


def test_an_unknown_name_is_answered_like_a_known_one() -> None:
    def answers(name: str, address: str) -> list[tuple[int, str | None, str]]:
        found = []
        for _ in range(7):
            answer = Client().post(SIGN_IN, {"username": name, "password": WRONG}, REMOTE_ADDR=address)
            page = re.sub(r'"[\w-]{22,}=*"', "", answer.content.decode())  # tokens
            found.append((answer.status_code, answer.get("Retry-After"), page.replace(f'"{name}"', "NAME")))
        return found

    assert answers("otto", "192.0.2.1") == answers("nobody", "192.0.2.2")


def test_what_was_typed_is_not_kept() -> None:
    fail(6, name="my-password-in-the-wrong-field")
    assert "wrong-field" not in repr(list(FailedAttempts.objects.values()))


def test_many_names_from_one_address_are_throttled_for_a_minute_at_most() -> None:
    statuses = [sign_in(f"name-{number}") for number in range(throttle.ADDRESS.allowed + 10)]
    assert statuses == [200] * throttle.ADDRESS.allowed + [429] * 10
    assert sign_in(address="192.0.2.10", password=RIGHT) == 302, "another address is not concerned"
    for _ in range(8):
        wait(60)
        assert sign_in("one-more") == 200


def test_a_name_guessed_from_everywhere_gets_one_attempt_from_each_place() -> None:
    for number in range(throttle.SUSPECTED_AFTER):
        sign_in(address=f"198.51.100.{number}")
    assert fail(3, address="203.0.113.1") == [200, 429, 429]
    # A person who knows the password needs no more than one, wherever they are.
    assert sign_in(password=RIGHT, address="203.0.113.2") == 302


@pytest.fixture
def known() -> Client:
    """A browser in which otto was signed in, and is no more."""
    browser = Client()
    sign_in(password=RIGHT, client=browser)
    browser.post(reverse("admin:logout"))
    return browser


def test_a_browser_that_was_signed_in_before_is_not_held_up_by_others(known: Client) -> None:
    # From its own address: a neighbour, or a proxy that hides who is who.
    for number in range(throttle.ADDRESS.allowed):
        sign_in(f"name-{number}")
    fail(7)
    assert sign_in(password=RIGHT) == 429
    assert sign_in(password=RIGHT, client=known) == 302


def test_such_a_browser_has_no_more_attempts_than_another(known: Client) -> None:
    assert [sign_in(client=known) for _ in range(7)] == [200] * 5 + [429] * 2


def test_its_cookie_is_worth_nothing_for_another_name(known: Client) -> None:
    User.objects.create_user("vera", password=RIGHT, is_staff=True)
    fail(6, name="vera")
    assert sign_in("vera", RIGHT, client=known) == 429


def test_a_cookie_that_somebody_made_up_is_none() -> None:
    fail(6)
    forged = Client()
    forged.cookies[throttle.COOKIE] = throttle.key_of("name", "otto")
    assert sign_in(password=RIGHT, client=forged) == 429


def test_who_has_an_account_cannot_lift_the_block_of_an_address() -> None:
    for number in range(throttle.ADDRESS.allowed + 1):
        sign_in(f"name-{number}")
    for _ in range(3):
        wait(60)
        assert sign_in(password=RIGHT) == 302
        assert sign_in("one-more") == 429


# The audit trail


def entries() -> list[tuple[str, str]]:
    rows = AuditEntry.objects.filter(verb="session.sign_in").order_by("sequence")
    return list(rows.values_list("outcome", "actor_name"))


def test_a_burst_leaves_its_first_failures_and_one_entry_that_says_throttled() -> None:
    for _ in range(12):
        fail(3)
        wait(300)
    assert entries() == [("refused", "otto")] * 6
    assert "Too many failed attempts" in AuditEntry.objects.latest("sequence").message
    sign_in(password=RIGHT)
    assert entries()[-1] == ("done", "otto")


def test_many_names_from_one_address_are_one_burst() -> None:
    for number in range(throttle.ADDRESS.allowed + 20):
        sign_in(f"name-{number}")
    for number in range(5):
        wait(60)
        sign_in(f"other-{number}")
    assert len(entries()) == throttle.ADDRESS.allowed + 1


# One's own password


def change(client: Client, old: str) -> tuple[int, set[tuple[str, str]]]:
    answer = client.post(
        PASSWORD, {"old_password": old, "new_password1": "Xk7-long-enough", "new_password2": "Xk7-long-enough"}
    )
    return answer.status_code, form_errors(answer) if answer.status_code != 302 else set()


def test_the_old_password_cannot_be_guessed_either(login: Login, otto: User) -> None:
    client = login(otto)
    assert [change(client, WRONG) for _ in range(5)] == [(200, {("old_password", "password_incorrect")})] * 5
    assert [change(client, old) for old in (WRONG, RIGHT)] == [(429, {("old_password", "sign_in.throttled")})] * 2
    for _ in range(3):
        wait(300)
        change(client, WRONG)
        change(client, WRONG)
    assert AuditEntry.objects.filter(verb="person.own_password").count() == 6
    wait(300)
    assert change(client, RIGHT) == (302, set())


# At the same time


def test_attempts_at_the_same_time_are_all_counted(own_database: str) -> None:
    results: list[bool] = []
    start = threading.Barrier(12)

    def attempt() -> None:
        start.wait()
        try:
            throttle.begin(throttle.Attempt("place", "name", "address"))
            results.append(True)
        except throttle.Refused:
            results.append(False)
        finally:
            connection.close()

    threads = [threading.Thread(target=attempt) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (sum(results), len(results)) == (5, 12)


def test_the_table_does_not_grow() -> None:
    for number in range(5):
        sign_in(f"name-{number}")
    FailedAttempts.objects.update(expires_at=timezone.now())
    sign_in()
    assert FailedAttempts.objects.count() == 3
