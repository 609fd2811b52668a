"""A new password by a mailed link: who gets one, what it opens, when it is refused, and what is recorded of it."""

from __future__ import annotations

import importlib
import json
import logging
import re
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import NoReverseMatch, clear_url_caches, reverse

from flows.models import Environment
from portal import urls
from portal.auth import password_reset, throttle
from portal.models import FailedAttempts
from runs import audit, tasks
from runs.governance import accounts, independence
from runs.models import AuditEntry, QueuedTask
from tests.cast import by, person
from tests.portal.page_elements import attributes, form_errors
from tests.refusals import refused
from tests.row_search import tables_with
from tests.smtp import post_office

pytestmark = pytest.mark.django_db

SIGN_IN, REQUEST = reverse("admin:login"), reverse("admin_password_reset")
EMAIL, OLD, NEW = "otto@portal.example", "old-horse-battery", "new-horse-battery"
SMTP = "django.core.mail.backends.smtp.EmailBackend"
Login = Callable[[User], Client]


@pytest.fixture(autouse=True)
def public_url(settings: Any) -> None:
    settings.PUBLIC_URL = "https://portal.example/"


@pytest.fixture(autouse=True)
def otto(db: None) -> User:
    return User.objects.create_user("otto", EMAIL, OLD, is_staff=True)


def ask(email: str = EMAIL, *, address: str = "192.0.2.9", client: Client | None = None, **headers: str) -> Any:
    return (client or Client()).post(REQUEST, {"email": email}, REMOTE_ADDR=address, **headers)


def work() -> None:
    """What the background tasks do."""
    for row in QueuedTask.objects.filter(task="runs.tasks.send_reset_link").order_by("pk"):
        tasks.send_reset_link(*json.loads(row.args))
        row.delete()


def link_in(text: str) -> str:
    (link,) = re.findall(r"^https?://\S+", text, re.MULTILINE)
    return str(link)


def mailed_link(email: str = EMAIL) -> str:
    """Ask for a link, and return the path of the one that arrives."""
    ask(email)
    work()
    return link_in(str(mail.outbox[-1].body)).removeprefix("https://portal.example")


def opened(link: str, client: Client) -> Any:
    return client.get(link, follow=True)


def choose(link: str, password: str = NEW, *, client: Client | None = None) -> Any:
    """Open a link and choose a password; the answer."""
    browser = client or Client()
    form = opened(link, browser)
    at = form.redirect_chain[-1][0] if form.redirect_chain else link
    return browser.post(at, {"new_password1": password, "new_password2": password}, REMOTE_ADDR="192.0.2.9")


def is_refused(answer: Any) -> bool:
    return attributes(answer.content.decode(), "data-link") == ["refused"]


def entries(verb: str) -> list[tuple[str, str, str]]:
    rows = AuditEntry.objects.filter(verb=verb).order_by("sequence")
    return list(rows.values_list("outcome", "actor_name", "subject_name"))


def codes(verb: str) -> list[str]:
    rows = AuditEntry.objects.filter(verb=verb, outcome="refused").order_by("sequence")
    return [row.after["refused"]["code"] for row in rows]


# The way of a person


def test_whoever_forgot_their_password_chooses_a_new_one_and_signs_in(client: Client, otto: User) -> None:
    assert f'href="{REQUEST}"' in client.get(SIGN_IN).content.decode()
    assert client.get(REQUEST).status_code == 200
    answer = ask(client=client)
    assert answer.url == reverse("password_reset_done")
    assert client.get(answer.url).status_code == 200
    work()
    (email,) = mail.outbox
    assert (email.to, email.from_email) == ([EMAIL], "portal@localhost")
    assert "otto" in str(email.body)
    link = link_in(str(email.body))
    assert link.startswith("https://portal.example/admin/reset/")
    # 1. The address of the form does not hold the token: it could be passed on as referrer.
    page = opened(link.removeprefix("https://portal.example"), client)
    assert page.redirect_chain[-1][0].endswith("/set-password/")
    # 2. The new password counts, and the person signs in with it.
    answer = client.post(page.redirect_chain[-1][0], {"new_password1": NEW, "new_password2": NEW})
    assert answer.url == reverse("password_reset_complete")
    assert client.get(answer.url).status_code == 200
    assert client.get(reverse("admin:index")).status_code == 302, "not signed in by it"
    assert [client.post(SIGN_IN, {"username": "otto", "password": each}).status_code for each in (OLD, NEW)] == [
        200,
        302,
    ]
    # 3. All of it is in the trail.
    assert entries("person.reset_link") == [("done", "not signed in", "otto")]
    assert entries("person.own_password") == [("done", "otto", "otto")]
    entry = AuditEntry.objects.get(verb="person.own_password")
    assert (entry.actor_id, entry.subject_id, entry.after) == (str(otto.pk), str(otto.pk), {"chosen_by": "link"})
    assert audit.verify()


def test_with_a_real_mail_server(settings: Any, otto: User) -> None:
    with post_office() as post:
        settings.SMTP = {"host": "127.0.0.1", "port": post.port, "timeout": 5}
        settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": settings.SMTP}}
        ask()
        work()
    assert post.recipients == [EMAIL]
    (email,) = post.mails
    link = link_in(email.get_content())
    assert choose(link.removeprefix("https://portal.example")).status_code == 302
    otto.refresh_from_db()
    assert otto.check_password(NEW)


def test_all_sessions_of_the_account_end(login: Login, otto: User) -> None:
    browsers = [login(otto), login(otto)]
    choose(mailed_link())
    assert [each.get(reverse("admin:index")).status_code for each in browsers] == [302, 302]


def test_a_password_chosen_by_a_link_is_one_s_own(prod: Environment, otto: User, admin_user: User) -> None:
    accounts.set_password(otto, by=by(admin_user))
    with refused("approval.password_not_own"):
        independence.require_own_password(otto)
    choose(mailed_link())
    independence.require_own_password(User.objects.get(pk=otto.pk))


def test_two_accounts_with_one_address_get_a_link_each(otto: User) -> None:
    User.objects.create_user("otto-admin", EMAIL.upper(), OLD, is_staff=True)
    ask()
    work()
    assert sorted(each.to[0].casefold() for each in mail.outbox) == [EMAIL, EMAIL]
    choose(link_in(str(mail.outbox[1].body)).removeprefix("https://portal.example"))
    named = ["otto-admin" if "otto-admin" in str(each.body) else "otto" for each in mail.outbox]
    assert sorted(named) == ["otto", "otto-admin"]
    assert User.objects.get(username=named[1]).check_password(NEW)
    assert User.objects.get(username=named[0]).check_password(OLD)


@pytest.mark.parametrize("password", ["short", "otto-portal-example", "password1234"])
def test_a_password_has_to_be_valid_and_the_link_stays(password: str, otto: User) -> None:
    link, client = mailed_link(), Client()
    answer = choose(link, password, client=client)
    assert answer.status_code == 200
    assert form_errors(answer)
    assert entries("person.own_password") == [("refused", "otto", "otto")]
    assert choose(link, client=client).status_code == 302


# Who gets one


@pytest.mark.parametrize(
    "columns",
    [{"is_active": False}, {"is_staff": False}, {"password": "!unusable"}, {"email": ""}],
    ids=["disabled", "no sign-in", "no password", "no address"],
)
def test_no_link_for_an_account_that_cannot_use_it(columns: dict[str, Any], otto: User) -> None:
    link = mailed_link()
    User.objects.filter(pk=otto.pk).update(**columns)
    mail.outbox.clear()
    assert ask().url == reverse("password_reset_done")
    work()
    assert mail.outbox == []
    assert codes("person.reset_link") == ["reset_link.unknown"]
    # Nor does one that was sent before open it.
    assert is_refused(opened(link, Client()))


def test_an_account_that_was_disabled_since_is_not_written_to(otto: User) -> None:
    ask()
    User.objects.filter(pk=otto.pk).update(is_active=False)
    work()
    assert mail.outbox == []


def answers(email: str, address: str) -> list[tuple[Any, ...]]:
    """What a visitor sees who asks five times, without the tokens of the pages."""
    found = []
    for _ in range(5):
        answer = ask(email, address=address)
        page = re.sub(r'"[\w-]{22,}=*"', "", answer.content.decode()).replace(email, "EMAIL")
        found.append((answer.status_code, answer.headers.get("Location"), answer.headers.get("Retry-After"), page))
    return found


def test_an_unknown_address_is_answered_like_a_known_one() -> None:
    assert answers(EMAIL, "192.0.2.1") == answers("nobody@portal.example", "192.0.2.2")


def test_both_take_nearly_the_same_work() -> None:
    """No mail server is waited for, and what differs is a row of the queue."""
    counts = []
    for email in (EMAIL, "nobody@portal.example"):
        with CaptureQueriesContext(connection) as queries:
            ask(email, address=f"192.0.2.{len(counts)}")
        counts.append(len(queries))
    assert abs(counts[0] - counts[1]) <= 2


def test_an_unknown_address_is_in_the_trail_without_the_address() -> None:
    ask("my-password-in-the-wrong-field@portal.example")
    assert entries("person.reset_link") == [("refused", "not signed in", "unknown account")]
    assert tables_with("wrong-field") == []


def test_what_is_no_address_is_no_request() -> None:
    for typed in ("", "otto", "otto@", f"{EMAIL}\nBcc: eve@evil.example"):
        assert form_errors(ask(typed)) & {("email", "required"), ("email", "invalid")}
    assert not AuditEntry.objects.filter(verb="person.reset_link").exists()
    assert not FailedAttempts.objects.exists()


# What the link says


@pytest.mark.parametrize("header", ["HTTP_HOST", "HTTP_X_FORWARDED_HOST"])
def test_the_host_of_a_request_is_not_in_the_link(header: str, settings: Any) -> None:
    settings.ALLOWED_HOSTS = ["*"]
    settings.USE_X_FORWARDED_HOST = True
    ask(**{header: "evil.example"})
    work()
    assert link_in(str(mail.outbox[0].body)).startswith("https://portal.example/admin/reset/")
    assert "evil" not in str(mail.outbox[0].message())


def test_a_host_that_is_not_allowed_is_refused() -> None:
    assert ask(HTTP_HOST="evil.example").status_code == 400
    assert not QueuedTask.objects.exists()


def test_without_a_public_url_the_mail_has_the_path(settings: Any) -> None:
    settings.PUBLIC_URL = ""
    ask(HTTP_HOST="localhost")
    work()
    assert re.search(r"^/admin/reset/\S+$", str(mail.outbox[0].body), re.MULTILINE)


def test_the_link_is_stored_nowhere_until_it_is_opened(otto: User) -> None:
    link = mailed_link()
    assert tables_with(link.split("/")[-2]) == []


# When it is refused


def test_a_link_works_once() -> None:
    link = mailed_link()
    assert choose(link).status_code == 302
    answer = choose(link, "another-horse-battery")
    assert is_refused(answer)
    assert f'href="{REQUEST}"' in answer.content.decode()
    assert User.objects.get(username="otto").check_password(NEW)


@pytest.mark.parametrize(("minutes", "is_valid"), [(59, True), (61, False)])
def test_a_link_is_valid_for_an_hour(minutes: int, is_valid: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    link = mailed_link()
    later = datetime.now() + timedelta(minutes=minutes)  # noqa: DTZ005  (as Django's)
    monkeypatch.setattr(PasswordResetTokenGenerator, "_now", lambda self: later)
    assert (choose(link).status_code == 302) is is_valid
    assert User.objects.get(username="otto").check_password(NEW) is is_valid


def change_password(otto: User) -> None:
    otto.set_password("another-horse-battery")
    otto.save()


def sign_in_with_it(otto: User) -> None:
    assert Client().post(SIGN_IN, {"username": "otto", "password": OLD}).status_code == 302


def change_address(otto: User) -> None:
    User.objects.filter(pk=otto.pk).update(email="other@portal.example")


@pytest.mark.parametrize("act", [change_password, sign_in_with_it, change_address], ids=lambda act: act.__name__)
def test_a_link_from_before_is_refused(act: Callable[[User], None], otto: User) -> None:
    link, client = mailed_link(), Client()
    form = opened(link, client).redirect_chain[-1][0]
    act(otto)
    assert is_refused(choose(link))
    assert is_refused(client.post(form, {"new_password1": NEW, "new_password2": NEW}))
    assert not User.objects.get(pk=otto.pk).check_password(NEW)


def test_a_link_of_another_account_or_a_made_up_one_opens_nothing(otto: User) -> None:
    vera = User.objects.create_user("vera", "vera@portal.example", OLD, is_staff=True)
    _, _, _, uid, token, _ = mailed_link().split("/")
    other = password_reset.path_of_link(vera).split("/")[3]
    missing = "OTk5OTk5OTk5OTk5OTk5OTk5"
    for made_up in (f"{other}/{token}", f"{uid}/{token[:-1]}x", f"{uid}/set-password", f"{missing}/{token}"):
        assert is_refused(choose(f"/admin/reset/{made_up}/")), made_up
    assert User.objects.get(pk=vera.pk).check_password(OLD)


# How often


def wait(seconds: float) -> None:
    """Let time pass for all counts."""
    for row in FailedAttempts.objects.all():
        row.blocked_until = row.blocked_until and row.blocked_until - timedelta(seconds=seconds)
        row.expires_at -= timedelta(seconds=seconds)
        row.save()


def test_a_mailbox_is_not_flooded_from_wherever_and_however_it_is_spelled() -> None:
    spellings = [EMAIL, EMAIL.upper(), "Otto@Portal.Example", EMAIL.title(), EMAIL]
    statuses = [ask(each, address=f"198.51.100.{number}").status_code for number, each in enumerate(spellings)]
    assert statuses == [302, 302, 302, 429, 429]
    answer = ask(address="203.0.113.1")
    assert form_errors(answer) == {("email", "reset_link.throttled")}
    assert 0 < int(answer["Retry-After"]) <= 60


def test_within_an_hour_there_are_eight_at_most() -> None:
    sent = 0
    for _ in range(60):
        for number in range(3):
            sent += ask(address=f"198.51.100.{number}").status_code == 302
        wait(60)
    assert sent == 8


def test_another_mailbox_does_not_wait_and_an_address_asks_for_thirty() -> None:
    statuses = [ask(f"name-{number}@portal.example").status_code for number in range(throttle.ADDRESS.allowed + 2)]
    assert statuses == [302] * throttle.ADDRESS.allowed + [429] * 2
    assert ask(address="192.0.2.10").status_code == 302
    # It has nothing to do with signing in from there.
    answer = Client().post(SIGN_IN, {"username": "otto", "password": OLD}, REMOTE_ADDR="192.0.2.9")
    assert answer.status_code == 302


def test_failed_sign_ins_do_not_hold_up_a_link() -> None:
    for _ in range(7):
        Client().post(SIGN_IN, {"username": "otto", "password": "wrong"}, REMOTE_ADDR="192.0.2.9")
    assert ask().status_code == 302


def test_a_burst_leaves_one_entry_that_says_throttled() -> None:
    for _ in range(9):
        ask()
    assert codes("person.reset_link") == ["reset_link.throttled"]
    assert len(entries("person.reset_link")) == 4
    for _ in range(9):
        ask("nobody@portal.example", address="192.0.2.10")
    assert codes("person.reset_link")[1:] == [*["reset_link.unknown"] * 3, "reset_link.throttled"]


# The mail server


def test_a_mail_server_that_is_down_is_in_the_log_alone(settings: Any, caplog: pytest.LogCaptureFixture) -> None:
    with post_office() as closed:
        pass
    settings.SMTP = {"host": "127.0.0.1", "port": closed.port, "timeout": 5}
    settings.MAILERS = {"default": {"BACKEND": SMTP, "OPTIONS": settings.SMTP}}
    assert ask().url == reverse("password_reset_done")
    with caplog.at_level(logging.ERROR):
        work()
    (line,) = [record.getMessage() for record in caplog.records if record.name == "runs.tasks"]
    assert "otto" in line
    assert "connection refused" in line
    assert "/reset/" not in caplog.text


def test_an_address_that_is_none_is_in_the_log_too(caplog: pytest.LogCaptureFixture) -> None:
    ask()
    User.objects.update(email="otto@portal.example\nBcc: eve@evil.example")
    work()
    assert mail.outbox == []
    assert "invalid address" in caplog.text
    assert "evil" not in caplog.text


@pytest.fixture
def without_mail(settings: Any) -> Iterator[None]:
    """The addresses of an installation without a mail server."""
    settings.SENDS_MAIL = False
    importlib.reload(urls)
    clear_url_caches()
    yield
    settings.SENDS_MAIL = True
    importlib.reload(urls)
    clear_url_caches()


@pytest.mark.usefixtures("without_mail")
def test_without_a_mail_server_none_is_offered(client: Client) -> None:
    assert "password_reset" not in client.get(SIGN_IN).content.decode()
    assert client.get(REQUEST).url.startswith(SIGN_IN)  # type: ignore[attr-defined]  # a redirect, as for any unknown address
    with pytest.raises(NoReverseMatch):
        reverse("admin_password_reset")
    # A link that an operator's command has printed is still opened.
    vera = person("vera")
    vera.set_password(OLD)
    vera.save()
    link = password_reset.path_of_link(vera)
    assert choose(link).status_code == 302
    assert is_refused(choose(link))
