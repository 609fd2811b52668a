"""The pages of hooks: a secret that is shown once, who sees what, and the deliveries."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment
from runs.models import AuditEntry, Hook, HookSecret, RunRequest, ServiceAccount
from tests.made_hooks import Sender, new_hook, robot_for
from tests.portal.page_elements import form_errors, refusal_codes

pytestmark = pytest.mark.django_db

LIST, NEW = reverse("admin:runs_hook_changelist"), reverse("admin:runs_hook_new")
SECRET = re.compile(r"whsec_[0-9A-Za-z+/]{43}=")
Login = Callable[[User], Client]


@pytest.fixture
def robot(requester: User, deployment: Deployment) -> ServiceAccount:
    return robot_for(requester, deployment)


@pytest.fixture
def sender(requester: User, deployment: Deployment, robot: ServiceAccount) -> Sender:
    return new_hook(requester, deployment, robot)


def page_of(hook: Hook, name: str = "change") -> str:
    return reverse(f"admin:runs_hook_{name}", args=[hook.pk])


def typed(account: ServiceAccount, deployment: Deployment, **values: Any) -> dict[str, Any]:
    plain = {
        "name": "orders",
        "kind": "standard",
        "account": account.pk,
        "deployment": deployment.pk,
        "mapping": '{"month": {"pointer": "/data/month"}}',
        "predicate": "",
        "kilobytes": "64",
        "newest_hook": "0",
    }
    return plain | values


def test_an_owner_creates_one_and_sees_its_secret_once(
    requester: User, robot: ServiceAccount, deployment: Deployment, login: Login
) -> None:
    client = login(requester)
    assert client.get(NEW).status_code == 200
    answer = client.post(NEW, typed(robot, deployment))
    hook = Hook.objects.get()
    (secret,) = set(SECRET.findall(answer.content.decode()))
    assert answer.headers["Cache-Control"].startswith("no-store")
    assert f"/hooks/{hook.key}" in answer.content.decode()
    assert Sender(hook, secret).send().status == 202
    assert not SECRET.search(client.get(page_of(hook)).content.decode())
    # Sent again, for instance by a reload.
    again = client.post(NEW, typed(robot, deployment))
    assert form_errors(again) == {("name", "hook.repeated")}
    assert Hook.objects.count() == 1


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"mapping": "{"}, ("mapping", "file.not_json")),
        ({"mapping": "[" * 9000}, ("mapping", "file.not_json")),
        ({"mapping": "[1]"}, ("mapping", "file.not_object")),
        ({"mapping": '{"other": {"value": 1}}'}, ("mapping", "hook.mapping")),
        ({"mapping": '{"month": {"value": "\\u0000"}}'}, ("mapping", "hook.mapping")),
        ({"predicate": "{}"}, ("predicate", "condition")),
        ({"kilobytes": "5000"}, ("kilobytes", "max_value")),
        ({"name": ""}, ("name", "required")),
    ],
)
def test_an_error_is_shown_at_its_field(
    requester: User,
    robot: ServiceAccount,
    deployment: Deployment,
    login: Login,
    values: dict[str, str],
    error: tuple[str, str],
) -> None:
    assert form_errors(login(requester).post(NEW, typed(robot, deployment, **values))) == {error}
    assert not Hook.objects.exists()


@pytest.mark.parametrize("who", ["admin_user", "stranger"])
def test_nobody_else_can_choose_the_account(
    who: str, request: pytest.FixtureRequest, robot: ServiceAccount, deployment: Deployment, login: Login
) -> None:
    answer = login(request.getfixturevalue(who)).post(NEW, typed(robot, deployment))
    assert ("account", "invalid_choice") in form_errors(answer)
    assert "monthly" not in answer.content.decode()
    assert not Hook.objects.exists()


def test_only_those_who_may_see_it_find_it(
    sender: Sender, requester: User, admin_user: User, auditor: User, stranger: User, login: Login
) -> None:
    for user, number in ((requester, 1), (admin_user, 1), (auditor, 1), (stranger, 0)):
        client = login(user)
        assert client.get(LIST).context["cl"].result_count == number
        assert client.get(page_of(sender.hook)).status_code == (200 if number else 404)


def test_its_page_says_what_each_message_did(sender: Sender, requester: User, login: Login) -> None:
    sender.send()
    sender.send({"data": {}}, "msg_2")
    sender.send(webhook_signature="v1,AAAA")
    page = login(requester).get(page_of(sender.hook)).content.decode()
    assert reverse("admin:runs_runrequest_change", args=[RunRequest.objects.get().pk]) in page
    assert "“month”" in page
    assert "A message to a hook is not signed with a valid secret." in page
    assert f"/hooks/{sender.hook.key}" in page


def test_the_owner_changes_what_it_does(sender: Sender, requester: User, robot: ServiceAccount, login: Login) -> None:
    client = login(requester)
    body = typed(robot, sender.hook.deployment, name="invoices", mapping='{"month": {"value": "2026-09"}}')
    assert client.post(page_of(sender.hook, "edit"), body).status_code == 302
    hook = Hook.objects.get()
    assert (hook.name, hook.mapping, hook.max_bytes) == ("invoices", {"month": {"value": "2026-09"}}, 65536)
    assert sender.send({}).status == 202
    entry = AuditEntry.objects.get(verb="hook.change")
    assert entry.after["name"] == "invoices"


def test_a_reload_makes_no_second_secret(sender: Sender, requester: User, login: Login) -> None:
    client, known = login(requester), {"newest_secret": HookSecret.objects.get().pk}
    answer = client.post(page_of(sender.hook, "add_secret"), known)
    assert SECRET.search(answer.content.decode())
    assert answer.headers["Cache-Control"].startswith("no-store")
    again = client.post(page_of(sender.hook, "add_secret"), known, follow=True)
    assert refusal_codes(again) == {"hook.repeated"}
    assert HookSecret.objects.count() == 2


def test_an_administrator_finds_only_what_takes_away(
    sender: Sender, requester: User, admin_user: User, login: Login
) -> None:
    names = ("edit", "enable", "disable", "add_secret", "remove_secret", "replace_secrets")
    shown = {
        user.username: [name for name in names if page_of(sender.hook, name) in page]
        for user in (requester, admin_user)
        for page in [login(user).get(page_of(sender.hook)).content.decode()]
    }
    assert shown["administrator"] == ["disable", "remove_secret"]
    assert shown["requester"] == ["edit", "disable", "add_secret", "remove_secret", "replace_secrets"]


def test_one_that_was_changed_in_the_database_says_so(sender: Sender, requester: User, login: Login) -> None:
    Hook.objects.update(max_bytes=5000)
    page = login(requester).get(page_of(sender.hook)).content.decode()
    assert 'data-code="altered"' in page
    assert page_of(sender.hook, "edit") not in page
    assert page_of(sender.hook, "replace_secrets") in page


def test_the_page_of_its_account_lists_it(sender: Sender, requester: User, login: Login) -> None:
    page = login(requester).get(reverse("admin:runs_serviceaccount_change", args=[sender.hook.account.pk]))
    assert page_of(sender.hook) in page.content.decode()


def test_the_trail_links_the_hook_that_acted(sender: Sender, admin_user: User, login: Login) -> None:
    sender.send()
    page = login(admin_user).get(reverse("admin:runs_auditentry_changelist"), {"token": sender.hook.key})
    assert {entry.verb for entry in page.context["cl"].result_list} == {"request.submit"}
    assert "by hook" in page.content.decode()
    assert page_of(sender.hook) in page.content.decode()
