"""The pages of change requests: what waits is found, understood and decided there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.contrib.messages import get_messages
from django.db import connection
from django.forms import model_to_dict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from flows.models import Deployment, Environment
from runs import requests
from runs.actors import Actor
from runs.governance import configuration, freezes, grants, policies
from runs.models import ChangeRequest, Grant, Policy
from tests.cast import by, key, person
from tests.portal.many_rows import many_requests
from tests.portal.page_elements import attributes

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("second_administrator")]

Login = Callable[[User], Client]
CONFIRMED = {"reason": "migration weekend", "confirm": "prod"}
TYPED = {"loosening_reason": "migration weekend", "loosening_confirm": "prod"}


def address(name: str, *keys: Any) -> str:
    return reverse(f"admin:{name}", args=keys)


@pytest.fixture
def policy(prod: Environment) -> Policy:
    return Policy.objects.create(name="Typed", environment=prod, needs_confirmation=True)


@pytest.fixture
def change(policy: Policy, admin_user: User) -> ChangeRequest:
    policy.needs_confirmation = False
    found = policies.save_policy(policy, by=by(admin_user), **CONFIRMED)
    assert found
    return found


def codes(client: Client, url: str, body: dict[str, Any]) -> tuple[list[str], str]:
    """The codes of the messages after a form was sent, and where it led."""
    answer = client.post(url, body)
    assert answer.status_code == 302, answer.content.decode()[:2000]
    return [message.extra_tags for message in get_messages(answer.wsgi_request)], answer.headers["Location"]


def form_of(environment: Environment, **values: Any) -> dict[str, Any]:
    columns = model_to_dict(environment) | model_to_dict(environment.server)
    sent = {name: value for name, value in columns.items() if value is not False and value is not None}
    return {name: value for name, value in (sent | values).items() if value is not None}


def test_every_form_that_loosens_leads_to_the_change_request(
    prod: Environment, policy: Policy, admin_user: User, viewer: User, login: Login
) -> None:
    client = login(admin_user)
    grants.grant(by=Actor.system(), group=Group.objects.get(name="Operator"), verbs=["trigger"], environment=prod)
    operators = Group.objects.get(name="Operator").pk
    password = {"usable_password": "true", "password1": "a-long-enough-phrase", "password2": "a-long-enough-phrase"}
    member = person("member", "Operator")
    forms: dict[str, dict[str, Any]] = {
        address("flows_environment_change", prod.pk): {**form_of(prod, needs_approval=None), **TYPED},
        address("runs_policy_remove", policy.pk): CONFIRMED,
        address("runs_policy_change", policy.pk): {
            "name": "Typed",
            "environment": prod.pk,
            "stages-1-needed": "",
            "outside_window": "wait",
            "risk": "low",
            **TYPED,
        },
        address("runs_grant_add"): {
            "who": f"person:{viewer.pk}",
            "effect": "allow",
            "verbs": ["trigger"],
            "environment": prod.pk,
            "reason": "cover",
            "loosening_confirm": "prod",
        },
        address("auth_user_change", viewer.pk): {
            "username": "viewer",
            "is_active": "on",
            "is_staff": "on",
            "groups": [operators],
            **TYPED,
        },
        address("auth_user_add"): {"username": "nina", "is_staff": "on", "groups": [operators], **password, **TYPED},
        address("auth_user_password_change", member.pk): password | TYPED,
    }
    for url, body in forms.items():
        sent, location = codes(client, url, body)
        newest = ChangeRequest.objects.latest("pk")
        assert (sent, location) == (["rules.waiting"], address("runs_changerequest_change", newest.pk)), url
        assert client.get(location).status_code == 200
    assert ChangeRequest.objects.count() == len(forms)
    assert not User.objects.filter(username="nina").exists()
    assert not member.has_usable_password()


def test_a_button_that_loosens_stays_on_its_page_and_links_to_it(
    prod: Environment, admin_user: User, viewer: User, login: Login
) -> None:
    client = login(admin_user)
    freezes.freeze(prod, by=by(admin_user), reason="year end")
    denial = grants.grant(by=Actor.system(), person=viewer, verbs=["trigger"], effect="deny", environment=prod)
    for url, page in (
        (address("flows_environment_unfreeze", prod.pk), address("flows_environment_change", prod.pk)),
        (address("runs_grant_revoke", denial.pk), address("runs_grant_change", denial.pk)),
    ):
        sent, location = codes(client, url, CONFIRMED)
        assert (sent, location) == (["rules.waiting"], page)
        newest = ChangeRequest.objects.latest("pk")
        assert address("runs_changerequest_change", newest.pk) in client.get(page).content.decode()
    assert freezes.freeze_of(prod)
    assert Grant.objects.get(pk=denial.pk).revoked_at is None


def test_what_waits_is_on_the_overview_of_those_in_charge_and_in_the_list(
    change: ChangeRequest, admin_user: User, second_administrator: User, auditor: User, viewer: User, login: Login
) -> None:
    link = address("runs_changerequest_change", change.pk)
    for user, is_shown in ((admin_user, True), (second_administrator, True), (auditor, True), (viewer, False)):
        client = login(user)
        assert (link in client.get(reverse("admin:index")).content.decode()) == is_shown, user
        listed = client.get(address("runs_changerequest_changelist"))
        assert listed.status_code == (200 if is_shown else 403), user
        assert (link in listed.content.decode()) == is_shown, user
        assert client.get(link).status_code == (200 if is_shown else 404), user


def test_the_menu_counts_what_needs_the_readers_approval(
    change: ChangeRequest, admin_user: User, second_administrator: User, login: Login
) -> None:
    menus = {user.username: login(user).get(reverse("admin:index")) for user in (admin_user, second_administrator)}
    badges = {
        name: next(
            item["badge"]
            for group in page.context["sidebar_navigation"]
            for item in group["items"]
            if "requests" in str(item["title"]) and "Change" in str(item["title"])
        )
        for name, page in menus.items()
    }
    assert badges == {"administrator": 0, "cosigner": 1}


def test_the_page_shows_before_and_after_and_only_the_buttons_that_work(
    change: ChangeRequest, admin_user: User, second_administrator: User, auditor: User, login: Login
) -> None:
    url = address("runs_changerequest_change", change.pk)
    buttons = {"administrator": {"withdraw"}, "cosigner": {"approve", "reject"}, "auditor": set()}
    for user in (admin_user, second_administrator, auditor):
        page = login(user).get(url).content.decode()
        assert attributes(page, "data-column") == ["needs confirmation"]
        assert attributes(page, "data-loosening") == ["policy.needs_confirmation"]
        assert {"approve", "reject", "withdraw"} & set(attributes(page, "data-key")) == buttons[user.username]


def test_secrets_are_named_and_not_shown(
    prod: Environment, admin_user: User, second_administrator: User, login: Login
) -> None:
    prod.server.credential = "user:canary-0815"
    found = configuration.save_environment(prod, by=by(admin_user), **CONFIRMED)
    assert found
    page = login(second_administrator).get(address("runs_changerequest_change", found.pk)).content.decode()
    assert attributes(page, "data-column") == ["credential"]
    assert "canary-0815" not in page


def test_it_is_decided_there(
    change: ChangeRequest, policy: Policy, admin_user: User, second_administrator: User, login: Login
) -> None:
    client, page = login(second_administrator), address("runs_changerequest_change", change.pk)
    approve = address("runs_changerequest_approve", change.pk)
    # Without the digest of what was displayed nothing is approved; nor by its requester.
    assert codes(client, approve, {})[0] == ["approval.stale"]
    body = {"displayed_digest": change.digest, "reason": "agreed"}
    assert codes(login(admin_user), approve, body)[0] == ["approval.own"]
    assert Policy.objects.get(pk=policy.pk).needs_confirmation
    client.post(address("runs_changerequest_comment", change.pk), {"text": "On it."})
    _, location = codes(client, approve, body)
    assert location == page
    assert not Policy.objects.get(pk=policy.pk).needs_confirmation
    shown = client.get(page).content.decode()
    assert attributes(shown, "data-moment")[-1] == "requested"
    assert {"approved", "commented", "closed"} < set(attributes(shown, "data-moment"))
    assert "approve" not in attributes(shown, "data-key")


def test_it_is_rejected_and_withdrawn_there(
    change: ChangeRequest, policy: Policy, admin_user: User, second_administrator: User, login: Login
) -> None:
    reject = address("runs_changerequest_reject", change.pk)
    assert codes(login(second_administrator), reject, {})[0] == ["rejection.reason_required"]
    codes(login(second_administrator), reject, {"reason": "Not now."})
    change.refresh_from_db()
    assert (change.state, change.message) == ("rejected", "Not now.")
    policy.needs_confirmation = False
    again = policies.save_policy(policy, by=by(admin_user), **CONFIRMED)
    assert again
    codes(login(admin_user), address("runs_changerequest_withdraw", again.pk), {})
    again.refresh_from_db()
    assert again.state == "withdrawn"


def test_an_administrator_who_cannot_sign_reads_why(
    change: ChangeRequest, prod: Environment, admin_user: User, login: Login
) -> None:
    found = grants.grant(
        by=by(admin_user),
        person=person("third", is_superuser=True),
        verbs=["approve"],
        environment=prod,
        **CONFIRMED,
    )
    assert isinstance(found, ChangeRequest)
    page = login(User.objects.get(username="third")).get(address("runs_changerequest_change", found.pk))
    assert attributes(page.content.decode(), "data-why-not") == ["rules.beneficiary"]


def test_a_change_request_for_a_run_has_no_second_page(
    requester: User, prod_deployment: Any, admin_user: User, login: Login
) -> None:
    run_request = requests.submit(
        prod_deployment, {"month": "2026-10"}, by=by(requester), reason="r", submission_key=key()
    )
    for user in (admin_user, requester):
        assert login(user).get(address("runs_changerequest_change", run_request.change_id)).status_code == 404


def test_every_page_says_that_one_administrator_is_enough(
    change: ChangeRequest, admin_user: User, viewer: User, login: Login, settings: Any
) -> None:
    pages = [reverse("admin:index"), address("runs_run_changelist"), address("runs_runrequest_changelist")]
    mark = "single-administrator"
    for user in (admin_user, viewer):
        client = login(user)
        settings.SINGLE_ADMINISTRATOR = False
        assert not any(mark in attributes(client.get(page).content.decode(), "data-key") for page in pages)
        settings.SINGLE_ADMINISTRATOR = True
        assert all(mark in attributes(client.get(page).content.decode(), "data-key") for page in pages)


def test_the_list_does_not_read_the_requests_for_one_run(
    deployment: Deployment, requester: User, admin_user: User, login: Login
) -> None:
    many_requests(deployment, requester, 60)
    client = login(admin_user)
    with connection.cursor() as cursor:
        # A table of 60 rows is read faster than an index.
        cursor.execute("SET LOCAL enable_seqscan = off")
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address("runs_changerequest_changelist")).status_code == 200
        [statement] = [each["sql"] for each in queries if "spec_count" in each["sql"]]
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "changes_with_a_page on runs_changerequest  (" in plan
