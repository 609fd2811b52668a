"""An administrator made by the operator of the installation: they can sign in, and everyone in charge is told."""

from __future__ import annotations

import getpass
import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.core import mail
from django.test import Client
from django.urls import reverse

from flows.models import Environment
from portal.admin.audit import oversight
from runs import audit
from runs.governance import accounts, grants, independence
from runs.models import AuditEntry
from runs.models.notification import Topic
from tests.background import notices
from tests.cast import by, person
from tests.refusals import refused
from tests.row_search import tables_with
from tests.runs.conftest import Say
from tests.smtp import post_office

pytestmark = pytest.mark.django_db

VERB, NEW = "person.operator_administrator", "new-horse-battery"
Login = Callable[[User], Client]


@pytest.fixture(autouse=True)
def public_url(settings: Any) -> None:
    settings.PUBLIC_URL = "https://portal.example"


def choose(link: str) -> int:
    """Choose a password by a link; 302 if it is set, 200 if the link is refused."""
    client = Client()
    form = client.get(link.removeprefix("https://portal.example"))
    if form.status_code == 200:
        return 200
    return client.post(form.headers["Location"], {"new_password1": NEW, "new_password2": NEW}).status_code


def link_in(text: str) -> str:
    (link,) = re.findall(r"^(?:https://portal.example)?/admin/reset/\S+", text, re.MULTILINE)
    return str(link)


def can_sign_in(name: str) -> bool:
    return Client().post(reverse("admin:login"), {"username": name, "password": NEW}).status_code == 302


def entry() -> AuditEntry:
    return AuditEntry.objects.filter(verb=VERB).latest("sequence")


def told() -> list[str]:
    return sorted(notices().filter(topic=Topic.RULES).values_list("person__username", flat=True))


# A new account


def test_a_new_administrator_chooses_a_password_by_a_mailed_link(
    prod: Environment, admin_user: User, auditor: User, viewer: User, say: Say
) -> None:
    code, out, err = say("new_administrator", "grace", "--reason", "Last one left", "--email", "grace@portal.example")
    assert (code, err) == (0, "")
    # 1. Nothing by which one could sign in is printed, stored or known.
    assert "/reset/" not in out
    (email,) = mail.outbox
    assert email.to == ["grace@portal.example"]
    assert "grace" in str(email.body)
    link = link_in(str(email.body))
    assert tables_with(link.split("/")[-2]) == []
    grace = User.objects.get(username="grace")
    assert grace.has_usable_password()
    # 2. The link works once.
    assert [choose(link), choose(link)] == [302, 200]
    assert can_sign_in("grace")
    grace.refresh_from_db()
    assert (grace.is_superuser, grace.is_staff, grace.is_active) == (True, True, True)
    independence.require_own_password(grace)
    # 3. It is in the trail, with what it opens; administrators and auditors are told, and named.
    made = entry()
    assert (made.outcome, made.actor_kind, made.channel) == ("done", "system", "command")
    assert made.actor_name == f"operating system account {getpass.getuser()}"
    assert (made.subject_kind, made.subject_id, made.subject_name) == ("person", str(grace.pk), "grace")
    assert made.reason == "Last one left"
    assert made.after["is_superuser"] is True
    assert [(each["kind"], each["environment"]) for each in made.after["loosened"]] == [
        ("account.administrator", "prod")
    ]
    assert audit.verify()
    assert told() == ["administrator", "auditor", "grace"]
    assert "administrator, auditor" in out
    (text, *_) = notices().values_list("text", flat=True)
    assert "Last one left" in text
    assert getpass.getuser() in text


def test_the_overview_counts_it(prod: Environment, admin_user: User, login: Login, say: Say) -> None:
    say("new_administrator", "grace", "--reason", "Last one left")
    page = login(admin_user).get(reverse("admin:index"))
    (row,) = page.context["oversight"]
    assert {count.key: count.number for count in row.counts}[oversight.LOOSENED] == 1


@pytest.mark.parametrize("email", [[], ["--email", "grace@portal.example"]])
def test_without_mail_the_link_is_printed_once(email: list[str], settings: Any, say: Say) -> None:
    settings.SENDS_MAIL = not email
    code, out, _ = say("new_administrator", "grace", "--reason", "r", *email)
    assert code == 0
    link = link_in(out)
    assert link.startswith("https://portal.example/")
    assert tables_with(link.split("/")[-2]) == []
    assert choose(link) == 302
    assert can_sign_in("grace")


def test_without_a_public_url_its_path_is_printed(settings: Any, say: Say) -> None:
    settings.PUBLIC_URL = ""
    assert link_in(say("new_administrator", "grace", "--reason", "r")[1]).startswith("/admin/reset/")


def test_a_mail_server_that_is_down_does_not_leave_the_account_closed(settings: Any, say: Say) -> None:
    with post_office() as closed:
        pass
    settings.SMTP = {"host": "127.0.0.1", "port": closed.port, "timeout": 5}
    settings.MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend", "OPTIONS": settings.SMTP}}
    code, out, err = say("new_administrator", "grace", "--reason", "r", "--email", "grace@portal.example")
    assert code == 0
    assert "connection refused" in err
    assert choose(link_in(out)) == 302


def test_json_has_all_of_it(admin_user: User, say: Say) -> None:
    found = json.loads(say("new_administrator", "grace", "--reason", "r", "--json")[1])
    assert (found["name"], found["mailed_to"], found["notified"]) == ("grace", "", ["administrator"])
    assert choose(found["link"]) == 302


def test_the_first_administrator_is_made_by_it_too(say: Say) -> None:
    """Where nothing is protected yet; there is no one else to tell."""
    code, out, _ = say("new_administrator", "grace", "--reason", "Set up")
    assert code == 0
    assert "no one" in out
    assert entry().outcome == "done"
    assert "loosened" not in entry().after
    assert told() == ["grace"]


def test_others_are_told_where_nothing_is_protected(dev: Environment, admin_user: User, say: Say) -> None:
    say("new_administrator", "grace", "--reason", "r")
    assert told() == ["administrator", "grace"]
    assert all("the portal" in subject for subject in notices().values_list("subject", flat=True))


# An existing account


def test_an_existing_account_is_promoted_and_enabled(prod: Environment, login: Login, say: Say) -> None:
    group = Group.objects.get(name="Operator")
    grants.grant(by=by(person("ada", is_superuser=True)), group=group, verbs=["trigger"], reason="r")
    otto = person("otto", "Operator", email="otto@portal.example")
    otto.set_password(NEW)
    otto.save()
    session = login(otto)
    User.objects.filter(pk=otto.pk).update(is_active=False, is_staff=False)
    assert say("new_administrator", "otto", "--reason", "Last one left")[0] == 0
    # 1. Whoever knew the old password, or was signed in, is not an administrator by it.
    assert not can_sign_in("otto")
    assert session.get(reverse("admin:index")).status_code == 302
    # 2. The address that the account had gets the link.
    (email,) = mail.outbox
    assert email.to == ["otto@portal.example"]
    assert choose(link_in(str(email.body))) == 302
    assert can_sign_in("otto")
    # 3. The groups stay, and each thing that became looser is named.
    otto.refresh_from_db()
    assert (otto.is_superuser, otto.is_staff, otto.is_active) == (True, True, True)
    assert [each.name for each in otto.groups.all()] == ["Operator"]
    changed = {"is_active": True, "is_staff": True, "is_superuser": True, "password": "changed"}
    assert {name: entry().after[name] for name in changed} == changed
    assert entry().before == {"is_active": False, "is_staff": False, "is_superuser": False}
    kinds = {each["kind"] for each in entry().after["loosened"]}
    assert kinds == {"account.administrator", "account.enabled", "account.password"}


def test_another_address_replaces_the_stored_one(prod: Environment, say: Say) -> None:
    person("otto", email="old@portal.example")
    say("new_administrator", "otto", "--reason", "r", "--email", "new@portal.example")
    assert [email.to for email in mail.outbox] == [["new@portal.example"]]
    assert entry().after["email"] == "new@portal.example"
    assert "account.email" in {each["kind"] for each in entry().after["loosened"]}


# Refusals

REFUSALS: dict[str, tuple[list[str], str]] = {
    "no reason": (["grace", "--reason", "  "], "reason.required"),
    "already one": (["administrator", "--reason", "r"], "administrator.already"),
    "looks like another": (["Administrator", "--reason", "r"], "person.name_taken"),
    "Cyrillic letter": (["gr\u0430ce", "--reason", "r"], "person.name_unclear"),
    "space": (["grace hopper", "--reason", "r"], "person.invalid"),
    "too long": (["g" * 151, "--reason", "r"], "person.invalid"),
    "empty": (["", "--reason", "r"], "person.invalid"),
    "no address": (["grace", "--reason", "r", "--email", "grace"], "person.invalid"),
    "a header": (["grace", "--reason", "r", "--email", "a@b.example\nBcc: c@d.example"], "person.invalid"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_what_cannot_be_is_refused(name: str, admin_user: User, say: Say) -> None:
    words, refusal = REFUSALS[name]
    before = list(User.objects.values())
    code, out, err = say("new_administrator", *words)
    assert (code, out) == (1, "")
    assert f"({refusal})" in err
    assert list(User.objects.values()) == before
    assert (entry().outcome, entry().after["refused"]["code"]) == ("refused", refusal)
    assert mail.outbox == []
    assert told() == []


def test_without_a_reason_it_is_wrong_usage(say: Say) -> None:
    code, _, err = say("new_administrator", "grace")
    assert code == 1
    assert "--reason" in err


def test_an_administrator_who_cannot_sign_in_is_none(admin_user: User, say: Say) -> None:
    User.objects.filter(pk=admin_user.pk).update(is_staff=False)
    assert say("new_administrator", "administrator", "--reason", "r")[0] == 0


def test_a_user_does_it_on_the_page(prod: Environment, admin_user: User) -> None:
    """Where it has to be confirmed."""
    with pytest.raises(TypeError):
        accounts.make_administrator("grace", by=by(admin_user), reason="r")
    grace = User(username="grace", is_superuser=True, is_staff=True)
    with refused("loosening.confirm"):
        accounts.save_person(grace, groups=[], by=by(admin_user), reason="r")
