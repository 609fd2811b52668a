"""The list of tokens and their pages: who sees which, what they may do, replacing and revoking."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db.models import Q
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from portal.ui import effective_permissions, token_labels
from runs import requests
from runs.access.decisions import Permissions
from runs.governance import token_limits, tokens
from runs.models import AuditEntry, Grant, ServiceAccount, Token, TokenScope
from tests.cast import by, person
from tests.portal.hostile_text import bad
from tests.portal.made_tokens import new_token, robot_of, texts
from tests.portal.page_elements import attributes, has_button, refusal_codes
from tests.portal.page_text import Page
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db

LIST = reverse("admin:runs_token_changelist")
Login = Callable[[User], Client]


@pytest.fixture
def token(requester: User) -> Token:
    return new_token(requester, TokenScope(verbs=["see", "trigger"])).token


@pytest.fixture
def robot(requester: User) -> ServiceAccount:
    return robot_of(requester)


@pytest.fixture
def of_robot(robot: ServiceAccount) -> Token:
    return new_token(robot.user, owner=robot.owner, name="deploys").token


def page_of(token: Token) -> str:
    return reverse("admin:runs_token_change", args=[token.pk])


def rotate_of(token: Token) -> str:
    return reverse("admin:runs_token_rotate", args=[token.pk])


def revoke_of(token: Token) -> str:
    return reverse("admin:runs_token_revoke", args=[token.pk])


def listed(client: Client, **query: str) -> set[str]:
    answer = client.get(LIST, query)
    assert answer.status_code == 200
    return {row.key for row in answer.context["cl"].result_list}


def last_entry() -> AuditEntry:
    return AuditEntry.objects.latest("sequence")


# Who sees which


def test_a_person_sees_their_own_and_those_of_their_service_accounts(
    token: Token, of_robot: Token, requester: User, viewer: User, stranger: User, login: Login
) -> None:
    other = new_token(viewer).token
    assert listed(login(requester)) == {token.key, of_robot.key}
    assert listed(login(viewer)) == {other.key}
    assert listed(login(stranger)) == set()


def test_administrators_and_auditors_see_all(
    token: Token, of_robot: Token, admin_user: User, auditor: User, login: Login
) -> None:
    for reader in (admin_user, auditor):
        assert listed(login(reader)) == {token.key, of_robot.key}
        assert login(reader).get(page_of(token)).status_code == 200


@pytest.mark.parametrize("who", ["stranger", "viewer", "approver"])
def test_the_token_of_another_person_is_not_there(
    who: str, token: Token, of_robot: Token, request: pytest.FixtureRequest, login: Login
) -> None:
    client, entries = login(request.getfixturevalue(who)), AuditEntry.objects.count()
    for each in (token, of_robot):
        for address in (page_of(each), rotate_of(each), revoke_of(each)):
            missing = address.replace(str(each.pk), "99999999")
            assert client.get(address).status_code == client.get(missing).status_code in (404, 405)
            assert client.post(address).status_code == client.post(missing).status_code in (404, 405)
    assert AuditEntry.objects.count() == entries
    assert Token.objects.filter(tokens.active()).count() == 2


def test_a_service_account_is_not_its_owner_s_after_a_change_of_owner(
    of_robot: Token, robot: ServiceAccount, requester: User, viewer: User, login: Login
) -> None:
    ServiceAccount.objects.filter(pk=robot.pk).update(owner=viewer)
    assert login(requester).get(page_of(of_robot)).status_code == 404
    assert login(viewer).get(page_of(of_robot)).status_code == 200


def test_somebody_not_signed_in_is_sent_to_sign_in(token: Token, client: Client) -> None:
    for address in (LIST, page_of(token)):
        assert client.get(address).url.startswith("/admin/login/")  # type: ignore[attr-defined]  # a redirect
    client.post(revoke_of(token))
    assert Token.objects.filter(tokens.active()).exists()


def test_it_is_in_the_menu_of_everyone(stranger: User, login: Login) -> None:
    assert f'href="{LIST}"' in login(stranger).get(reverse("admin:index")).content.decode()


def test_nothing_is_added_changed_or_deleted_by_django(token: Token, admin_user: User, login: Login) -> None:
    client = login(admin_user)
    assert client.post(reverse("admin:runs_token_add"), {"name": "x"}).status_code == 403
    assert client.post(page_of(token), {"name": "x"}).status_code == 405
    assert client.post(reverse("admin:runs_token_delete", args=[token.pk]), {"post": "yes"}).status_code == 403
    client.post(LIST, {"action": "delete_selected", "_selected_action": [token.pk]})
    assert Token.objects.get().name == token.name


# The list

STATES: dict[str, Callable[[datetime], dict[str, Any]]] = {
    "Active": lambda now: {},
    "Expires soon": lambda now: {"expires_at": now + timedelta(days=6)},
    "Replaced": lambda now: {"revoked_at": now + timedelta(hours=1)},
    "Expired": lambda now: {"expires_at": now - timedelta(hours=1)},
    "Revoked": lambda now: {"revoked_at": now - timedelta(hours=1), "digest": ""},
}
FILTERS = {
    "": {"Active", "Expires soon", "Replaced"},
    "soon": {"Expires soon"},
    "replaced": {"Replaced"},
    "expired": {"Expired"},
    "revoked": {"Revoked"},
    "disabled": {"Account disabled"},
    "all": {*STATES, "Account disabled"},
    "nonsense": {"Active", "Expires soon", "Replaced"},
}


def test_its_state_is_a_badge_and_a_filter(requester: User, admin_user: User, login: Login) -> None:
    now, gone = timezone.now(), person("gone")
    for name, columns in STATES.items():
        made = new_token(requester, name=name).token
        Token.objects.filter(pk=made.pk).update(**columns(now))
    new_token(gone, name="Account disabled")
    User.objects.filter(pk=gone.pk).update(is_active=False)
    for row in tokens.visible_to(by(admin_user)):
        assert token_labels.state_badge(row).state_label.startswith(row.name)
    for value, names in FILTERS.items():
        keys = listed(login(admin_user), state=value)
        assert set(Token.objects.filter(key__in=keys).values_list("name", flat=True)) == names, value


def test_it_is_filtered_by_account(token: Token, of_robot: Token, admin_user: User, login: Login) -> None:
    mine, client = new_token(admin_user).token, login(admin_user)
    assert listed(client, account="mine") == {mine.key}
    assert listed(client, account="service") == {of_robot.key}
    assert listed(client, account="others") == {token.key}


def test_unused_ones_are_found(token: Token, of_robot: Token, requester: User, login: Login) -> None:
    Token.objects.filter(pk=token.pk).update(created_at=timezone.now() - timedelta(days=40))
    client = login(requester)
    assert listed(client, unused="30") == {token.key}
    assert listed(client, unused="90") == set()


def test_it_is_searched_by_name_and_key(token: Token, of_robot: Token, requester: User, login: Login) -> None:
    client = login(requester)
    assert listed(client, q="deploys") == {of_robot.key}
    assert listed(client, q=token.key) == {token.key}


def test_the_list_says_when_it_was_used_and_by_whom_it_is_owned(of_robot: Token, requester: User, login: Login) -> None:
    client = login(requester)
    page = client.get(LIST).content.decode()
    assert "never" in page
    assert "of requester" in page
    Token.objects.update(last_used_at=timezone.now(), last_used_address="192.0.2.7")
    assert "from 192.0.2.7" in client.get(LIST).content.decode()


def test_the_list_takes_as_many_queries_for_many_as_for_few(
    requester: User, robot: ServiceAccount, admin_user: User, dev: Environment, login: Login
) -> None:
    def add(number: int) -> None:
        for index in range(number):
            account = requester if index % 2 else robot.user
            scopes = [TokenScope(verbs=["see"], environment=dev), TokenScope(verbs=["trigger"], tag="crm")]
            new_token(account, *scopes, owner=requester, name=f"token {index}")

    add(2)
    few = count(login(admin_user), LIST)
    add(10)
    assert count(login(admin_user), LIST) == few


def test_hostile_texts_are_only_texts(requester: User, admin_user: User, login: Login) -> None:
    scope = TokenScope(
        verbs=["trigger"],
        flow_name=bad("flow"),
        tag=bad("tag"),
        predicate={"properties": {"a": {"const": bad("value")}}},
    )
    made = new_token(requester, scope, name=bad("name")).token
    for address in (LIST, page_of(made), f"{LIST}?q={bad('name')}"):
        page = Page(login(admin_user).get(address).content.decode())
        assert page.complaints == []
    assert bad("name") in Page(login(admin_user).get(LIST).content.decode()).text


# Its page


def test_its_page_shows_what_it_may_do(
    token: Token, deployment: Deployment, prod: Environment, requester: User, login: Login
) -> None:
    answer = login(requester).get(page_of(token))
    assert [(row.environment.slug, row.place, row.permissions) for row in answer.context["reach"]] == [
        ("dev", "all deployments", "view, run")
    ]
    assert attributes(answer.content.decode(), "data-environment") == ["dev"]
    # The scope leaves the protected one out, where the requester holds grants.
    assert Grant.objects.filter(person=requester, environment=prod).exists()


def test_the_audit_trail_of_a_token_is_on_its_page(
    token: Token, deployment: Deployment, requester: User, auditor: User, login: Login
) -> None:
    acting = tokens.actor_of(token, address="192.0.2.7")
    requests.submit(deployment, {"month": "2026-10"}, by=acting)
    page = login(auditor).get(page_of(token)).content.decode()
    assert 'data-panel="audit"' in page
    (address,) = [each for each in attributes(page, "href") if f"?token={token.key}" in each]
    found = login(auditor).get(address)
    assert [entry.verb for entry in found.context["cl"].result_list] == ["request.submit"]
    assert 'data-panel="audit"' not in login(requester).get(page_of(token)).content.decode()


@pytest.mark.parametrize(
    ("who", "buttons"),
    [("requester", {"rotate", "revoke"}), ("admin_user", {"revoke"}), ("auditor", set())],
)
def test_a_button_is_there_where_the_service_would_allow_it(
    who: str, buttons: set[str], token: Token, of_robot: Token, request: pytest.FixtureRequest, login: Login
) -> None:
    client = login(request.getfixturevalue(who))
    for each in (token, of_robot):
        page = client.get(page_of(each)).content.decode()
        assert {key for key in ("rotate", "revoke") if has_button(page, key)} == buttons
    Token.objects.update(revoked_at=timezone.now(), digest="")
    page = client.get(page_of(token)).content.decode()
    assert not [key for key in ("rotate", "revoke") if has_button(page, key)]


def test_nothing_is_allowed_for_a_disabled_account(
    token: Token, requester: User, admin_user: User, login: Login
) -> None:
    User.objects.filter(pk=requester.pk).update(is_active=False)
    page = login(admin_user).get(page_of(token)).content.decode()
    assert attributes(page, "data-code") == ["nothing"]


# Replacing


@pytest.mark.parametrize(
    ("overlap", "lasts"),
    [("now", 0), ("hour", 3600), ("day", 86400), ("week", 604800), ("", 86400), ("a year", 86400)],
)
def test_it_is_replaced_with_an_overlap(overlap: str, lasts: int, token: Token, requester: User, login: Login) -> None:
    answer = login(requester).post(rotate_of(token), {"overlap": overlap})
    (text,) = texts(answer.content.decode())
    assert "no-store" in answer.headers["Cache-Control"]
    old, new = Token.objects.get(pk=token.pk), Token.objects.get(replaces=token)
    assert tokens.find(text) == new
    assert old.revoked_at
    assert abs(old.revoked_at - timezone.now() - timedelta(seconds=lasts)) < timedelta(minutes=1)
    assert bool(old.digest) is bool(lasts)
    assert last_entry().verb == "token.rotate"


def test_a_token_is_replaced_once_however_often_it_is_sent(token: Token, requester: User, login: Login) -> None:
    client = login(requester)
    (text,) = texts(client.post(rotate_of(token), {"overlap": "day"}).content.decode())
    again = client.post(rotate_of(token), {"overlap": "day"}, follow=True)
    assert refusal_codes(again) == {"token.revoked"}
    assert Token.objects.count() == 2
    assert text not in again.content.decode()
    page = client.get(page_of(token)).content.decode()
    assert not has_button(page, "rotate")
    # Until the overlap ends, it can still be revoked.
    assert has_button(page, "revoke")
    new = Token.objects.get(replaces=token)
    assert page_of(new) in page
    assert page_of(token) in client.get(page_of(new)).content.decode()


@pytest.mark.parametrize("who", ["admin_user", "auditor"])
def test_who_only_sees_it_cannot_replace_it(
    who: str, token: Token, request: pytest.FixtureRequest, login: Login
) -> None:
    answer = login(request.getfixturevalue(who)).post(rotate_of(token), {"overlap": "now"}, follow=True)
    assert refusal_codes(answer) == {"token.not_own"}
    assert last_entry().outcome == "refused"
    assert Token.objects.count() == 1


# Revoking


@pytest.mark.parametrize("who", ["requester", "admin_user"])
def test_it_is_revoked_with_a_reason(who: str, token: Token, request: pytest.FixtureRequest, login: Login) -> None:
    client = login(request.getfixturevalue(who))
    assert client.post(revoke_of(token), {"reason": "leaked"}).url == page_of(token)  # type: ignore[attr-defined]  # a redirect
    assert not Token.objects.filter(tokens.active()).exists()
    entry = last_entry()
    assert (entry.verb, entry.reason, entry.subject_id) == ("token.revoke", "leaked", str(token.pk))
    assert refusal_codes(client.post(revoke_of(token), follow=True)) == {"token.revoked"}


def test_an_auditor_revokes_nothing(token: Token, auditor: User, login: Login) -> None:
    assert refusal_codes(login(auditor).post(revoke_of(token), follow=True)) == {"token.not_own"}
    assert Token.objects.filter(tokens.active()).exists()


def test_acts_are_posts_with_a_csrf_token(token: Token, requester: User, login: Login) -> None:
    for address in (rotate_of(token), revoke_of(token)):
        assert login(requester).get(address).status_code == 405
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(requester)
        assert strict.post(address).status_code == 403
    assert Token.objects.filter(tokens.active()).count() == 1


# What it may do at most


def reach(user: User, *scopes: TokenScope) -> set[tuple[str, str, str, str]]:
    made = new_token(user, *scopes).token
    actor = tokens.actor_of(made, address="")
    rows = effective_permissions.rows(Permissions.of(actor), Environment.objects.all())
    return {(row.environment.slug, row.place, row.permissions, row.condition) for row in rows}


def grant(user: User, *verbs: str, **columns: Any) -> None:
    Grant.objects.create(person=user, verbs=list(verbs), granted_by_name="test", **columns)


def test_only_what_both_allow_counts(dev: Environment, prod: Environment, stranger: User) -> None:
    grant(stranger, "see", "trigger", environment=prod)
    grant(stranger, "see", "cancel", flow_name="monthly")
    assert reach(stranger, TokenScope(verbs=["see", "approve", "cancel"])) == {
        ("dev", "flow monthly", "view, cancel", "")
    }
    assert reach(stranger, TokenScope(verbs=["trigger"], environment=prod)) == {("prod", "all deployments", "run", "")}


def test_narrower_places_meet(dev: Environment, stranger: User) -> None:
    grant(stranger, "see", flow_name="monthly")
    grant(stranger, "see", tag="crm")
    assert reach(stranger, TokenScope(verbs=["see"], full_name="monthly/daily")) == {
        ("dev", "monthly/daily", "view", "")
    }
    assert reach(stranger, TokenScope(verbs=["see"], flow_name="weekly")) == {
        ("dev", "flow weekly, tag crm", "view", "")
    }


def test_conditions_of_both_are_named(dev: Environment, stranger: User) -> None:
    grant(stranger, "trigger", predicate={"properties": {"region": {"const": "EU"}}})
    few = TokenScope(verbs=["trigger"], predicate={"properties": {"rows": {"maximum": 10}}})
    condition = "only when region is EU and rows is at most 10"
    assert reach(stranger, few) == {("dev", "all deployments", "run", condition)}


def test_a_denial_counts(dev: Environment, stranger: User) -> None:
    grant(stranger, "see", "trigger")
    grant(stranger, "trigger", effect="deny")
    assert reach(stranger, TokenScope(verbs=["see", "trigger"])) == {("dev", "all deployments", "view", "")}


def test_an_administrator_s_token_sees_by_its_scope_alone(
    dev: Environment, prod: Environment, admin_user: User
) -> None:
    assert reach(admin_user, TokenScope(verbs=["see", "trigger"], environment=prod)) == {
        ("prod", "all deployments", "view", "")
    }


def test_each_row_is_what_the_decision_says(deployment: Deployment, requester: User) -> None:
    made = new_token(requester, TokenScope(verbs=[*token_limits.VERBS], full_name=deployment.full_name)).token
    permissions = Permissions.of(tokens.actor_of(made, address=""))
    (row,) = effective_permissions.rows(permissions, [deployment.environment])
    allowed = [str(verb.label) for verb in token_limits.VERBS if permissions.decide(verb, deployment)]
    assert sorted(row.permissions.split(", ")) == sorted(allowed)
    assert not Token.objects.filter(~Q(pk=made.pk)).exists()
