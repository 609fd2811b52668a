"""A new token in the admin: the form without a script, its refusals, and a text that is shown once."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.models import BrowserSession
from runs.governance import token_limits, tokens
from runs.models import AuditEntry, Grant, Policy, RowVersion, ServiceAccount, Token, TokenScope
from tests.cast import person
from tests.portal.hostile_text import bad
from tests.portal.made_tokens import new_token, robot_of, sent, texts
from tests.portal.page_elements import attributes, error_codes, form_errors
from tests.portal.page_text import Page

pytestmark = pytest.mark.django_db

NEW = reverse("admin:runs_token_new")
LIST = reverse("admin:runs_token_changelist")
Login = Callable[[User], Client]


@pytest.fixture
def robot(requester: User) -> ServiceAccount:
    return robot_of(requester)


def page_of(token: Token) -> str:
    return reverse("admin:runs_token_change", args=[token.pk])


def scope_errors(answer: Any) -> list[dict[str, list[str]]]:
    return [error_codes(form) for form in answer.context["scopes"].forms]


# Creating


def test_a_person_creates_one_with_all_that_narrows_it(
    requester: User, prod: Environment, deployment: Deployment, login: Login
) -> None:
    condition = '{"properties": {"region": {"const": "EU"}}}'
    body = sent(
        requester,
        {"verbs": ["see"]},
        {"verbs": ["trigger"], "environment": prod.pk, "flow_name": "monthly", "tag": "crm", "predicate": condition},
        name=" nightly ",
        lifetime="90",
        networks="192.0.2.1\n\n10.1.0.0/16",
    )
    answer = login(requester).post(NEW, body)
    token = Token.objects.get()
    first, second = token.scopes.all()
    assert (token.name, token.user, token.networks) == ("nightly", requester, ["192.0.2.1/32", "10.1.0.0/16"])
    assert abs(token.expires_at - timezone.now() - timedelta(days=90)) < timedelta(minutes=1)
    assert (first.verbs, first.environment, first.predicate) == (["see"], None, None)
    assert (second.verbs, second.environment, second.flow_name, second.tag) == (["trigger"], prod, "monthly", "crm")
    assert second.predicate == {"properties": {"region": {"const": "EU"}}}
    (text,) = texts(answer.content.decode())
    assert tokens.find(text) == token
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.outcome, entry.actor_name) == ("token.issue", "done", "requester")


def test_an_owner_creates_one_for_their_service_account(requester: User, robot: ServiceAccount, login: Login) -> None:
    client = login(requester)
    assert f'<option value="{requester.pk}" selected>' in client.get(NEW).content.decode()
    page = client.get(NEW, {"account": robot.user.pk}).content.decode()
    assert f'<option value="{robot.user.pk}" selected>' in page
    client.post(NEW, sent(robot.user))
    assert Token.objects.get().user == robot.user


@pytest.mark.parametrize("who", ["stranger", "auditor", "admin_user"])
def test_everyone_creates_their_own(who: str, request: pytest.FixtureRequest, login: Login) -> None:
    user = request.getfixturevalue(who)
    client = login(user)
    assert client.get(NEW).status_code == 200
    assert texts(client.post(NEW, sent(user)).content.decode())
    assert Token.objects.get().user == user


@pytest.mark.parametrize("who", ["stranger", "auditor", "admin_user"])
def test_nobody_creates_one_of_another_account(
    who: str, request: pytest.FixtureRequest, requester: User, robot: ServiceAccount, login: Login
) -> None:
    client = login(request.getfixturevalue(who))
    page = client.get(NEW).content.decode()
    for other in (requester, robot.user):
        assert f'<option value="{other.pk}"' not in page
        assert form_errors(client.post(NEW, sent(other))) == {("account", "invalid_choice")}
    assert not Token.objects.exists()


def test_a_disabled_service_account_gets_none(requester: User, robot: ServiceAccount, login: Login) -> None:
    User.objects.filter(pk=robot.user.pk).update(is_active=False)
    assert form_errors(login(requester).post(NEW, sent(robot.user))) == {("account", "invalid_choice")}


def test_the_last_day_counts_whole(requester: User, login: Login) -> None:
    day = timezone.localdate() + timedelta(days=3)
    login(requester).post(NEW, sent(requester, lifetime="date", until=day.isoformat()))
    assert timezone.localtime(Token.objects.get().expires_at).strftime("%Y-%m-%d %H:%M") == f"{day} 23:59"


def test_the_last_day_that_is_allowed_can_be_chosen(requester: User, login: Login) -> None:
    day = timezone.localdate() + token_limits.LONGEST
    login(requester).post(NEW, sent(requester, lifetime="date", until=day.isoformat()))
    assert Token.objects.exists()


# The environments that a scope can name


def test_it_names_environments_that_the_accounts_see(
    viewer: User, dev: Environment, prod: Environment, login: Login
) -> None:
    def offered() -> set[str]:
        form = login(viewer).get(NEW).context["scopes"].forms[0]
        return {environment.slug for environment in form.fields["environment"].queryset}

    hidden = sent(viewer, {"verbs": ["see"], "environment": prod.pk})
    assert offered() == {"dev"}
    assert scope_errors(login(viewer).post(NEW, hidden))[0] == {"environment": ["invalid_choice"]}
    robot = robot_of(viewer)
    Grant.objects.create(person=robot.user, environment=prod, verbs=["see"], granted_by_name="test")
    assert offered() == {"dev", "prod"}


# Refusals


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"account": ""}, ("account", "required")),
        ({"name": "  "}, ("name", "required")),
        ({"name": "x" * 101}, ("name", "max_length")),
        ({"name": "nul\0"}, ("name", "null_characters_not_allowed")),
        ({"lifetime": "3000"}, ("lifetime", "invalid_choice")),
        ({"lifetime": "date"}, ("until", "required")),
        ({"lifetime": "date", "until": "soon"}, ("until", "invalid")),
        ({"lifetime": "date", "until": "2001-01-01"}, ("until", "token.expiry")),
        ({"lifetime": "date", "until": "9999-12-31"}, ("until", "token.expiry")),
        ({"networks": "the office"}, ("networks", "token.networks")),
        ({"networks": "\n".join(f"10.0.0.{number}" for number in range(30))}, ("networks", "token.networks")),
    ],
)
def test_a_mistake_is_shown_at_its_field(
    values: dict[str, Any], error: tuple[str, str], requester: User, login: Login
) -> None:
    answer = login(requester).post(NEW, sent(requester, **values))
    assert answer.status_code == 200
    assert form_errors(answer) == {error}
    (message,) = answer.context["form"].errors[error[0]]
    assert html.escape(message) in answer.content.decode()
    assert not Token.objects.exists()


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({"flow_name": "monthly"}, ("verbs", "token.scope")),
        ({"verbs": ["fly"]}, ("verbs", "invalid_choice")),
        ({"verbs": ["break glass"]}, ("verbs", "invalid_choice")),
        ({"verbs": ["trigger"], "environment": "999"}, ("environment", "invalid_choice")),
        ({"verbs": ["trigger"], "predicate": "region is EU"}, ("predicate", "json")),
        ({"verbs": ["trigger"], "predicate": "[" * 9000}, ("predicate", "json")),
        ({"verbs": ["trigger"], "predicate": '{"const": 1}'}, ("predicate", "condition")),
        (
            {"verbs": ["see"], "predicate": '{"properties": {"rows": {"maximum": 3}}}'},
            ("predicate", "grant.condition_unbound"),
        ),
    ],
)
def test_a_mistake_in_a_scope_is_shown_in_its_row(
    row: dict[str, Any], error: tuple[str, str], requester: User, login: Login
) -> None:
    answer = login(requester).post(NEW, sent(requester, {"verbs": ["see"]}, row))
    assert scope_errors(answer) == [{}, {error[0]: [error[1]]}, {}, {}]
    assert attributes(answer.content.decode(), "data-scope") == ["1", "2", "3", "4"]
    assert [form.is_open() for form in answer.context["scopes"].forms] == [True, True, False, False]
    assert not Token.objects.exists()


@pytest.mark.parametrize("body", [{}, {"scopes-TOTAL_FORMS": "x"}, {"scopes-TOTAL_FORMS": "100000"}])
def test_it_needs_a_scope(body: dict[str, str], requester: User, login: Login) -> None:
    answer = login(requester).post(NEW, sent(requester, {}) | body)
    (code,) = {error.code for error in answer.context["scopes"].non_form_errors().as_data()}
    assert code in ("token.scope", "missing_management_form", "too_many_forms")
    assert answer.context["scopes"].non_form_errors()[0] in html.unescape(answer.content.decode())
    assert not Token.objects.exists()


@pytest.mark.parametrize(("values", "field"), [({}, "lifetime"), ({"lifetime": "date"}, "until")])
def test_a_policy_limits_the_expiry(values: dict[str, str], field: str, requester: User, login: Login) -> None:
    Policy.objects.create(name="short", token_days=7)
    day = (timezone.localdate() + timedelta(days=20)).isoformat()
    answer = login(requester).post(NEW, sent(requester, until=day, **values))
    assert form_errors(answer) == {(field, "token.expiry")}
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.verb, entry.outcome, entry.after["refused"]["code"]) == ("token.issue", "refused", "token.expiry")
    assert texts(login(requester).post(NEW, sent(requester, lifetime="7")).content.decode())


# Shown once


def test_its_text_is_on_one_answer_and_nowhere_else(
    requester: User, auditor: User, admin_user: User, login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = login(requester)
    answer = client.post(NEW, sent(requester))
    (text,) = texts(answer.content.decode())
    assert "no-store" in answer.headers["Cache-Control"]
    assert answer.status_code == 200
    assert attributes(answer.content.decode(), "data-copy") == ["token-text"]
    assert "http://testserver/api/v1/environments" in answer.content.decode()
    assert not list(answer.context["messages"])
    secret = text.partition(".")[2]
    token = Token.objects.get()
    for reader in (requester, auditor, admin_user):
        for address in (LIST, page_of(token), NEW, reverse("admin:index")):
            assert secret not in login(reader).get(address).content.decode()
    for entry in AuditEntry.objects.all():
        address = reverse("admin:runs_auditentry_change", args=[entry.pk])
        assert secret not in login(auditor).get(address).content.decode()
    stored = [Token, TokenScope, AuditEntry, RowVersion]
    assert not [model for model in stored if secret in repr(list(model.objects.values()))]
    assert secret not in repr([session.get_decoded() for session in BrowserSession.objects.all()])
    assert secret not in caplog.text


def test_the_public_address_is_the_one_of_the_installation(requester: User, login: Login, settings: Any) -> None:
    settings.PUBLIC_URL = "https://portal.example/"
    page = login(requester).post(NEW, sent(requester)).content.decode()
    assert "https://portal.example/api/v1/environments" in page


def test_a_form_that_is_sent_again_makes_no_other_token(requester: User, login: Login) -> None:
    client = login(requester)
    body = sent(requester, newest_token=client.get(NEW).context["newest_token"])
    assert texts(client.post(NEW, body).content.decode())
    for _ in range(2):
        again = client.post(NEW, body)
        assert form_errors(again) == {("name", "token.repeated")}
        assert not texts(again.content.decode())
    assert Token.objects.count() == 1
    # What the page says then can be sent on purpose.
    body["newest_token"] = again.context["newest_token"]
    assert texts(client.post(NEW, body).content.decode())
    assert Token.objects.count() == 2


def test_another_name_or_account_is_no_repetition(requester: User, robot: ServiceAccount, login: Login) -> None:
    client = login(requester)
    for body in (sent(requester), sent(requester, name="other"), sent(robot.user)):
        assert texts(client.post(NEW, body).content.decode())


def test_a_token_of_that_name_from_before_is_no_repetition(requester: User, login: Login) -> None:
    new_token(requester)
    client = login(requester)
    assert texts(
        client.post(NEW, sent(requester, newest_token=client.get(NEW).context["newest_token"])).content.decode()
    )


@pytest.mark.parametrize("value", ["", "x", "-1", "9" * 40])
def test_what_the_page_knew_can_be_missing(value: str, requester: User, login: Login) -> None:
    client = login(requester)
    assert texts(client.post(NEW, sent(requester, newest_token=value)).content.decode())
    assert form_errors(client.post(NEW, sent(requester, newest_token=value))) == {("name", "token.repeated")}


# What else a page must hold


def test_it_needs_no_script_and_has_no_hidden_permission(requester: User, login: Login) -> None:
    page = login(requester).get(NEW).content.decode()
    names = set(attributes(page, "name"))
    assert {f"scopes-{row}-verbs" for row in range(4)} <= names
    assert "break glass" not in attributes(page, "value")
    assert not Page(page).complaints


def test_a_hostile_name_is_only_text(requester: User, login: Login) -> None:
    answer = login(requester).post(NEW, sent(requester, name=bad("name")))
    page = Page(answer.content.decode())
    assert page.complaints == []
    assert bad("name") in page.text


def test_it_is_a_form_with_a_csrf_token(requester: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(requester)
    assert client.post(NEW, sent(requester)).status_code == 403
    assert not Token.objects.exists()


def test_somebody_not_signed_in_is_sent_to_sign_in(client: Client) -> None:
    assert client.get(NEW).url.startswith("/admin/login/")  # type: ignore[attr-defined]  # a redirect
    assert client.post(NEW, sent(person("other"))).status_code == 302
    assert not Token.objects.exists()


def test_who_reads_the_trail_can_have_it_read(requester: User, auditor: User, login: Login) -> None:
    field = 'name="reads_trail"'
    assert field not in login(requester).get(NEW).content.decode()
    assert field in login(auditor).get(NEW).content.decode()
    for person_ in (requester, auditor):
        login(person_).post(NEW, sent(person_, {"verbs": ["see"]}, reads_trail="on"))
    assert dict(Token.objects.values_list("user__username", "reads_trail")) == {"requester": False, "auditor": True}
