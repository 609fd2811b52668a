"""Service accounts in the admin: who sees and changes them, and what waits for a second administrator."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from flows.models import Deployment, Environment
from portal.ui.versions import versions_of
from runs import changes, requests
from runs.governance import service_accounts, tokens
from runs.models import AuditEntry, ChangeRequest, Grant, ServiceAccount, TokenScope
from tests.cast import by, person
from tests.portal.hostile_text import bad
from tests.portal.made_tokens import new_token, robot_of
from tests.portal.page_elements import attributes, form_errors, message_codes
from tests.portal.page_text import Page
from tests.portal.query_counts import count

pytestmark = pytest.mark.django_db

LIST = reverse("admin:runs_serviceaccount_changelist")
ADD = reverse("admin:runs_serviceaccount_add")
USERS = reverse("admin:auth_user_changelist")
Login = Callable[[User], Client]
CONFIRMED = {"loosening_reason": "left", "loosening_confirm": "prod"}


@pytest.fixture
def robot(requester: User) -> ServiceAccount:
    return robot_of(requester)


@pytest.fixture
def opens_prod(robot: ServiceAccount, prod: Environment) -> ServiceAccount:
    Grant.objects.create(person=robot.user, environment=prod, verbs=["trigger"], granted_by_name="test")
    return robot


def page_of(account: ServiceAccount) -> str:
    return reverse("admin:runs_serviceaccount_change", args=[account.pk])


def typed(account: ServiceAccount, **values: Any) -> dict[str, Any]:
    plain = {"owner": account.owner_id, "purpose": account.purpose, "is_active": "on"}
    return {name: value for name, value in (plain | values).items() if value is not None}


def listed(client: Client, **query: str) -> set[str]:
    return {str(row) for row in client.get(LIST, query).context["cl"].result_list}


# Who sees which


@pytest.mark.parametrize(
    ("who", "names"),
    [
        ("admin_user", {"ci-robot"}),
        ("auditor", {"ci-robot"}),
        ("requester", {"ci-robot"}),
        ("viewer", set()),
        ("stranger", set()),
    ],
)
def test_owners_see_theirs_and_overseers_all(
    who: str, names: set[str], robot: ServiceAccount, request: pytest.FixtureRequest, login: Login
) -> None:
    client = login(request.getfixturevalue(who))
    assert listed(client) == names
    assert client.get(page_of(robot)).status_code == (200 if names else 404)


def test_the_list_counts_its_active_tokens(robot: ServiceAccount, admin_user: User, login: Login) -> None:
    made = [new_token(robot.user, owner=robot.owner, name=name).token for name in ("one", "two", "three")]
    tokens.revoke(made[0], by=by(robot.owner))
    (row,) = login(admin_user).get(LIST).context["cl"].result_list
    assert (row.token_count, row.last_used_at) == (2, None)


def test_the_list_takes_as_many_queries_for_many_as_for_few(requester: User, admin_user: User, login: Login) -> None:
    def add(numbers: range) -> None:
        for number in numbers:
            made = robot_of(requester, f"robot-{'abcdefghijkl'[number]}-unlike-{number}")
            new_token(made.user, owner=requester)

    add(range(2))
    few = count(login(admin_user), LIST)
    add(range(2, 10))
    assert count(login(admin_user), LIST) == few


def test_the_page_shows_grants_reach_and_tokens(
    robot: ServiceAccount, dev: Environment, requester: User, login: Login
) -> None:
    Grant.objects.create(person=robot.user, verbs=["see", "cancel"], granted_by_name="test")
    made = new_token(robot.user, owner=requester).token
    answer = login(requester).get(page_of(robot))
    page = answer.content.decode()
    assert [(row.environment, row.permissions) for row in answer.context["reach"]] == [(dev, "view, cancel")]
    assert reverse("admin:runs_token_change", args=[made.pk]) in page
    assert attributes(page, "data-panel")[:4] == ["tokens", "trusts", "grants", "reach"]


def test_only_the_owner_is_offered_a_new_token(
    robot: ServiceAccount, requester: User, admin_user: User, auditor: User, login: Login
) -> None:
    link = f"{reverse('admin:runs_token_new')}?account={robot.user_id}"
    assert link in login(requester).get(page_of(robot)).content.decode()
    for other in (admin_user, auditor):
        assert link not in login(other).get(page_of(robot)).content.decode()
    User.objects.filter(pk=robot.user_id).update(is_active=False)
    assert link not in login(requester).get(page_of(robot)).content.decode()


def test_the_page_has_what_its_tokens_did(
    robot: ServiceAccount, deployment: Deployment, auditor: User, login: Login
) -> None:
    Grant.objects.create(person=robot.user, verbs=["see", "trigger"], granted_by_name="test")
    made = new_token(robot.user, TokenScope(verbs=["see", "trigger"]), owner=robot.owner).token
    requests.submit(deployment, {"month": "2026-10"}, by=tokens.actor_of(made, address="192.0.2.7"))
    page = login(auditor).get(page_of(robot)).content.decode()
    entry = AuditEntry.objects.get(verb="request.submit")
    assert reverse("admin:runs_auditentry_change", args=[entry.pk]) in page
    assert reverse("admin:runs_token_change", args=[made.pk]) in page


def test_its_versions_name_the_owners(robot: ServiceAccount, admin_user: User, viewer: User, login: Login) -> None:
    client = login(admin_user)
    client.post(page_of(robot), typed(robot, owner=viewer.pk))
    found = versions_of(ServiceAccount.objects.get())
    assert [(each.path, each.before, each.after) for each in found[0].changes] == [("owner", "requester", "viewer")]
    assert 'data-panel="versions"' in client.get(page_of(robot)).content.decode()


def test_hostile_texts_are_only_texts(robot: ServiceAccount, admin_user: User, auditor: User, login: Login) -> None:
    User.objects.filter(pk=robot.user_id).update(username=bad("name"))
    ServiceAccount.objects.update(purpose=bad("purpose"))
    for reader in (admin_user, auditor):
        for address in (LIST, page_of(robot)):
            page = Page(login(reader).get(address).content.decode())
            assert page.complaints == []
            assert bad("purpose") in page.text


# Adding


def test_an_administrator_adds_one(admin_user: User, requester: User, login: Login) -> None:
    answer = login(admin_user).post(ADD, {"name": "ci-robot", "owner": requester.pk, "purpose": "deploys"})
    account = ServiceAccount.objects.get()
    assert answer.url == page_of(account)  # type: ignore[attr-defined]  # a redirect
    assert (str(account), account.owner, account.purpose) == ("ci-robot", requester, "deploys")
    assert not account.user.has_usable_password()
    assert AuditEntry.objects.latest("sequence").verb == "service_account.create"


@pytest.mark.parametrize("who", ["requester", "auditor", "stranger"])
def test_nobody_else_adds_one(who: str, request: pytest.FixtureRequest, login: Login) -> None:
    user = request.getfixturevalue(who)
    client = login(user)
    assert client.get(ADD).status_code == 403
    assert client.post(ADD, {"name": "ci-robot", "owner": user.pk, "purpose": "x"}).status_code == 403
    assert not ServiceAccount.objects.exists()


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"name": ""}, ("name", "required")),
        ({"name": "ci robot!"}, ("name", "person.invalid")),
        ({"name": "requester"}, ("name", "person.name_taken")),
        ({"name": "r\u0435quester"}, ("name", "person.name_unclear")),
        ({"purpose": " "}, ("purpose", "required")),
        ({"owner": ""}, ("owner", "required")),
        ({"owner": "999"}, ("owner", "invalid_choice")),
    ],
)
def test_a_mistake_is_shown_at_its_field(
    values: dict[str, str], error: tuple[str, str], admin_user: User, requester: User, login: Login
) -> None:
    body = {"name": "ci-robot", "owner": requester.pk, "purpose": "deploys"} | values
    assert form_errors(login(admin_user).post(ADD, body)) == {error}
    assert not ServiceAccount.objects.exists()


def test_a_service_account_or_a_disabled_person_is_no_owner(
    robot: ServiceAccount, admin_user: User, login: Login
) -> None:
    for owner in (robot.user, person("gone", is_active=False)):
        body = {"name": "other", "owner": owner.pk, "purpose": "x"}
        assert form_errors(login(admin_user).post(ADD, body)) == {("owner", "invalid_choice")}


# Changing


def test_an_administrator_changes_owner_and_purpose(
    robot: ServiceAccount, admin_user: User, viewer: User, login: Login
) -> None:
    answer = login(admin_user).post(page_of(robot), typed(robot, owner=viewer.pk, purpose="tests"))
    assert answer.url == page_of(robot)  # type: ignore[attr-defined]  # a redirect
    robot.refresh_from_db()
    assert (robot.owner, robot.purpose) == (viewer, "tests")
    assert AuditEntry.objects.latest("sequence").verb == "service_account.change"


@pytest.mark.parametrize(("who", "status"), [("requester", 403), ("auditor", 403), ("viewer", 404), ("stranger", 404)])
def test_nobody_else_changes_one(
    who: str, status: int, robot: ServiceAccount, request: pytest.FixtureRequest, login: Login
) -> None:
    client = login(request.getfixturevalue(who))
    assert client.post(page_of(robot), typed(robot, purpose="x")).status_code == status
    assert ServiceAccount.objects.get().purpose == robot.purpose
    assert '<form method="post" novalidate>' not in client.get(page_of(robot)).content.decode()


def test_it_is_disabled_at_once(opens_prod: ServiceAccount, admin_user: User, login: Login) -> None:
    login(admin_user).post(page_of(opens_prod), typed(opens_prod, is_active=None))
    assert not User.objects.get(pk=opens_prod.user_id).is_active


def test_its_purpose_is_changed_while_its_owner_is_disabled(
    robot: ServiceAccount, admin_user: User, requester: User, login: Login
) -> None:
    User.objects.filter(pk=requester.pk).update(is_active=False)
    User.objects.filter(pk=robot.user_id).update(is_active=False)
    login(admin_user).post(page_of(robot), typed(robot, is_active=None, purpose="retired"))
    assert ServiceAccount.objects.get().purpose == "retired"
    answer = login(admin_user).post(page_of(robot), typed(robot))
    assert form_errors(answer) == {("owner", "service_account.owner")}


def test_nothing_is_deleted(robot: ServiceAccount, admin_user: User, login: Login) -> None:
    address = reverse("admin:runs_serviceaccount_delete", args=[robot.pk])
    assert login(admin_user).post(address, {"post": "yes"}).status_code == 403
    login(admin_user).post(LIST, {"action": "delete_selected", "_selected_action": [robot.pk]})
    assert ServiceAccount.objects.exists()


# What opens a protected environment


def test_another_owner_is_confirmed_and_waits(
    opens_prod: ServiceAccount,
    admin_user: User,
    second_administrator: User,
    viewer: User,
    login: Login,
) -> None:
    client, body = login(admin_user), typed(opens_prod, owner=viewer.pk)
    # 1. A reason and the name of the environment are asked for.
    answer = client.post(page_of(opens_prod), body)
    assert form_errors(answer) == {
        ("loosening_reason", "loosening.reason_required"),
        ("loosening_confirm", "loosening.confirm"),
    }
    assert attributes(answer.content.decode(), "data-loosening") == ["account.owner"]
    # 2. With both it becomes a change request, whose page says what would change.
    answer = client.post(page_of(opens_prod), body | CONFIRMED, follow=True)
    assert message_codes(answer) == ["rules.waiting"]
    assert ServiceAccount.objects.get().owner == opens_prod.owner
    change = ChangeRequest.objects.get()
    rows = answer.context["rows"]
    assert [(row.name, row.before, row.after, row.is_looser) for row in rows] == [
        ("owner", "requester", "viewer", True)
    ]
    assert answer.context["heading"] == "Owner of ci-robot changed to viewer"
    # 3. Another administrator approves it.
    changes.approve(change, by=by(second_administrator), displayed_digest=change.digest)
    assert ServiceAccount.objects.get().owner == viewer


def test_enabling_it_waits_and_shows_its_columns(
    opens_prod: ServiceAccount, admin_user: User, second_administrator: User, login: Login
) -> None:
    service_accounts.change(
        opens_prod, owner=opens_prod.owner, purpose=opens_prod.purpose, is_active=False, by=by(admin_user)
    )
    body = typed(opens_prod, purpose="tests") | CONFIRMED
    answer = login(admin_user).post(page_of(opens_prod), body, follow=True)
    assert [(row.name, row.before, row.after, row.is_looser) for row in answer.context["rows"]] == [
        ("enabled", "off", "on", True),
        ("purpose", "deploys nightly", "tests", False),
    ]
    assert not User.objects.get(pk=opens_prod.user_id).is_active


@pytest.mark.usefixtures("single_administrator")
def test_in_single_administrator_mode_it_counts_at_once(
    opens_prod: ServiceAccount, admin_user: User, viewer: User, login: Login
) -> None:
    login(admin_user).post(page_of(opens_prod), typed(opens_prod, owner=viewer.pk) | CONFIRMED)
    assert ServiceAccount.objects.get().owner == viewer


def test_without_a_second_administrator_it_is_refused(
    opens_prod: ServiceAccount, admin_user: User, viewer: User, login: Login
) -> None:
    User.objects.filter(username="maker").update(is_active=False)
    answer = login(admin_user).post(page_of(opens_prod), typed(opens_prod, owner=viewer.pk) | CONFIRMED)
    assert form_errors(answer) == {("__all__", "rules.no_signer")}


# Among the users


def test_it_is_not_among_the_users(robot: ServiceAccount, admin_user: User, login: Login) -> None:
    client = login(admin_user)
    assert "ci-robot" not in {row.username for row in client.get(USERS).context["cl"].result_list}
    answer = client.get(reverse("admin:auth_user_change", args=[robot.user_id]))
    assert answer.url == page_of(robot)  # type: ignore[attr-defined]  # a redirect


def test_it_gets_no_password_and_no_groups_by_the_pages_of_users(
    robot: ServiceAccount, admin_user: User, login: Login
) -> None:
    client = login(admin_user)
    address = reverse("admin:auth_user_password_change", args=[robot.user_id])
    password = {"password1": "a-long-enough-phrase", "password2": "a-long-enough-phrase"}
    assert client.get(address).status_code == 404
    assert client.post(address, password).status_code == 404
    body = {"username": "ci-robot", "is_active": "on", "is_staff": "on"}
    assert client.post(reverse("admin:auth_user_change", args=[robot.user_id]), body).url == page_of(robot)  # type: ignore[attr-defined]  # a redirect
    stored = User.objects.get(pk=robot.user_id)
    assert not stored.has_usable_password()
    assert not stored.is_staff


def test_its_address_among_the_users_tells_others_nothing(
    robot: ServiceAccount, auditor: User, stranger: User, login: Login
) -> None:
    for user in (auditor, stranger):
        assert login(user).get(reverse("admin:auth_user_change", args=[robot.user_id])).status_code == 403
