"""Service accounts: no password, an owner who answers for them, grants of their own."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import requests
from runs.access.decisions import Permissions, decide
from runs.actors import Actor
from runs.changes import approvals, queries
from runs.errors import Refused
from runs.governance import accounts, grants, service_accounts, tokens
from runs.models import AuditEntry, ChangeRequest, Grant, ServiceAccount, TokenScope, Verb
from tests.cast import by, person
from tests.refusals import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot(admin_user: User, requester: User) -> ServiceAccount:
    return service_accounts.create("ci-robot", owner=requester, purpose="deploys nightly", by=by(admin_user))


def acting(robot: ServiceAccount, *verbs: str, **columns: object) -> Actor:
    rows = [TokenScope(verbs=list(verbs), **columns)]
    new = tokens.issue(
        robot.user, by=by(robot.owner), name="ci", scopes=rows, expires_at=timezone.now() + timedelta(days=1)
    )
    return tokens.authenticate(new.text, address="192.0.2.7")


def test_it_cannot_sign_in_and_has_no_grants(robot: ServiceAccount, deployment: Deployment) -> None:
    assert not robot.user.has_usable_password()
    assert not robot.user.is_staff
    assert decide(acting(robot, "see"), Verb.SEE, deployment).code == "access.no_grant"
    assert AuditEntry.objects.get(verb="service_account.create").after["owner"] == "requester"


def test_only_administrators_create_one(requester: User) -> None:
    with refused("access.administrators_only"):
        service_accounts.create("ci-robot", owner=requester, purpose="x", by=by(requester))


@pytest.mark.parametrize(
    ("name", "purpose", "code"),
    [
        ("requester", "x", "person.name_taken"),
        ("r\u0435quester", "x", "person.name_unclear"),
        ("ci robot!", "x", "person.invalid"),
        ("ci-robot", " ", "service_account.purpose_required"),
    ],
)
def test_what_is_refused(admin_user: User, requester: User, name: str, purpose: str, code: str) -> None:
    with refused(code):
        service_accounts.create(name, owner=requester, purpose=purpose, by=by(admin_user))
    assert not ServiceAccount.objects.exists()


def test_its_owner_is_an_active_person(admin_user: User, robot: ServiceAccount) -> None:
    for owner in (robot.user, person("gone", is_active=False)):
        with refused("service_account.owner"):
            service_accounts.create("other", owner=owner, purpose="x", by=by(admin_user))


def test_it_gets_neither_a_password_nor_groups(admin_user: User, robot: ServiceAccount) -> None:
    robot.user.is_staff = True
    with refused("service_account.person"):
        accounts.save_person(robot.user, groups=[], by=by(admin_user))
    robot.user.set_password("first-horse-battery")
    with refused("service_account.person"):
        accounts.set_password(robot.user, by=by(admin_user))
    with refused("service_account.person"):
        accounts.make_administrator("ci-robot", by=Actor.system(), reason="x")


def test_it_requests_on_behalf_of_its_owner_who_cannot_approve(
    prod: Environment, prod_deployment: Deployment, robot: ServiceAccount, requester: User, approver: User
) -> None:
    for user in (robot.user, requester):
        Grant.objects.create(person=user, environment=prod, verbs=["see", "trigger", "approve"], granted_by_name="test")
    actor = acting(robot, "see", "trigger", "approve", environment=prod)
    run_request = requests.submit(prod_deployment, {"month": "2026-10"}, by=actor, reason="nightly")
    change = run_request.change
    assert (change.requested_by_name, change.on_behalf_of_name) == ("ci-robot", "requester")
    assert AuditEntry.objects.get(verb="request.submit").on_behalf_of == "requester"
    with refused("approval.own"):
        approvals.approve(change, by=by(requester))
    approvals.approve(change, by=by(approver))
    assert ChangeRequest.objects.get().state == ChangeRequest.State.APPROVED


def test_it_acts_for_its_owner_only(deployment: Deployment, robot: ServiceAccount) -> None:
    Grant.objects.create(
        person=robot.user, environment=deployment.environment, verbs=["trigger"], granted_by_name="test"
    )
    values = {"month": "2026-10"}
    with refused("service_account.on_behalf"):
        requests.submit(deployment, values, by=acting(robot, "trigger"), on_behalf_of=person("other"))
    assert requests.submit(deployment, values, by=acting(robot, "trigger"), on_behalf_of=robot.owner)


def test_a_later_owner_does_not_approve_either(
    prod: Environment, prod_deployment: Deployment, robot: ServiceAccount, approver: User
) -> None:
    Grant.objects.create(person=robot.user, environment=prod, verbs=["see", "trigger"], granted_by_name="test")
    actor = acting(robot, "see", "trigger", environment=prod)
    change = requests.submit(prod_deployment, {"month": "2026-10"}, by=actor, reason="nightly").change
    assert queries.waiting_for(Permissions.of(by(approver))) == [change.pk]
    ServiceAccount.objects.update(owner=approver)
    assert queries.waiting_for(Permissions.of(by(approver))) == []
    with refused("approval.own"):
        approvals.approve(change, by=by(approver))
    approvals.reject(change, by=by(approver), reason="no")


def test_who_created_it_lately_is_not_independent_of_it(
    prod: Environment, prod_deployment: Deployment, admin_user: User, requester: User
) -> None:
    robot = service_accounts.create("ci-robot", owner=requester, purpose="x", by=by(admin_user))
    Grant.objects.create(person=robot.user, environment=prod, verbs=["see", "trigger"], granted_by_name="test")
    Grant.objects.create(person=admin_user, environment=prod, verbs=["see", "approve"], granted_by_name="test")
    actor = acting(robot, "see", "trigger", environment=prod)
    change = requests.submit(prod_deployment, {"month": "2026-10"}, by=actor, reason="nightly").change
    with refused("approval.not_independent"):
        approvals.approve(change, by=by(admin_user))


def test_it_approves_nothing(prod: Environment, prod_deployment: Deployment, robot: ServiceAccount) -> None:
    Grant.objects.create(person=robot.user, environment=prod, verbs=["see", "approve"], granted_by_name="test")
    other = person("other", "Operator")
    Grant.objects.create(person=other, environment=prod, verbs=["see", "trigger"], granted_by_name="test")
    run_request = requests.submit(prod_deployment, {"month": "2026-10"}, by=by(other), reason="x")
    with refused("approval.on_behalf"):
        approvals.approve(run_request.change, by=acting(robot, "see", "approve", environment=prod))
    with refused("approval.on_behalf"):
        approvals.reject(run_request.change, by=acting(robot, "see", "approve", environment=prod), reason="x")


def test_its_tokens_stop_with_its_owner(robot: ServiceAccount) -> None:
    rows = [TokenScope(verbs=["see"])]
    new = tokens.issue(
        robot.user, by=by(robot.owner), name="ci", scopes=rows, expires_at=timezone.now() + timedelta(days=1)
    )
    User.objects.filter(pk=robot.owner.pk).update(is_active=False)
    with refused("token.user_inactive"):
        tokens.authenticate(new.text, address="192.0.2.7")


def test_an_administrator_cannot_act_through_it(robot: ServiceAccount, admin_user: User) -> None:
    with refused("token.not_own"):
        tokens.issue(
            robot.user,
            by=by(admin_user),
            name="x",
            scopes=[TokenScope(verbs=["see"])],
            expires_at=timezone.now() + timedelta(days=1),
        )


# Who gains by it ------------------------------------------------------------------------------------------------------


def change_owner(robot: ServiceAccount, owner: User, by_: User, **consent: str) -> ChangeRequest | None:
    return service_accounts.change(robot, owner=owner, purpose=robot.purpose, is_active=True, by=by(by_), **consent)


def test_its_tokens_end_with_their_owner(robot: ServiceAccount, admin_user: User, approver: User) -> None:
    new = tokens.issue(
        robot.user,
        by=by(robot.owner),
        name="ci",
        scopes=[TokenScope(verbs=["see"])],
        expires_at=timezone.now() + timedelta(days=1),
    )
    service_accounts.change(robot, owner=approver, purpose="x", is_active=True, by=by(admin_user))
    # Who knows its text could now approve what is requested with it.
    with refused("token.invalid"):
        tokens.authenticate(new.text, address="192.0.2.7")
    assert AuditEntry.objects.get(verb="service_account.change").after["tokens_ended"] == 1
    service_accounts.change(robot, owner=robot.owner, purpose="x", is_active=True, by=by(admin_user))
    with refused("token.invalid"):
        tokens.authenticate(new.text, address="192.0.2.7")


def test_its_tokens_end_with_an_owner_who_is_replaced_in_the_database(robot: ServiceAccount, approver: User) -> None:
    text = tokens.issue(
        robot.user,
        by=by(robot.owner),
        name="ci",
        scopes=[TokenScope(verbs=["see"])],
        expires_at=timezone.now() + timedelta(days=1),
    ).text
    ServiceAccount.objects.filter(pk=robot.pk).update(owner=approver)
    with refused("token.invalid"):
        tokens.authenticate(text, address="192.0.2.7")


def test_another_owner_is_free_where_nothing_protected_is_opened(robot: ServiceAccount, admin_user: User) -> None:
    assert change_owner(robot, person("new-owner"), admin_user) is None
    assert ServiceAccount.objects.get().owner.username == "new-owner"


def test_another_owner_of_one_that_opens_production_needs_a_second_signature(
    prod: Environment, robot: ServiceAccount, admin_user: User, second_administrator: User
) -> None:
    Grant.objects.create(person=robot.user, environment=prod, verbs=["trigger"], granted_by_name="test")
    with refused("loosening.reason_required"):
        change_owner(robot, person("new-owner"), admin_user)
    new = User.objects.get(username="new-owner")
    waiting = change_owner(robot, new, admin_user, reason="left", confirm="prod")
    assert waiting
    assert ServiceAccount.objects.get().owner.username == "requester"
    approvals.approve(waiting, by=by(second_administrator))
    assert ServiceAccount.objects.get().owner.username == "new-owner"


def test_the_new_owner_does_not_sign(
    prod: Environment, robot: ServiceAccount, admin_user: User, second_administrator: User
) -> None:
    Grant.objects.create(person=robot.user, environment=prod, verbs=["trigger"], granted_by_name="test")
    third = User.objects.create_superuser("third", password="x")
    waiting = change_owner(robot, second_administrator, admin_user, reason="left", confirm="prod")
    assert waiting
    with refused("rules.beneficiary"):
        approvals.approve(waiting, by=by(second_administrator))
    approvals.approve(waiting, by=by(third))


def test_the_owner_does_not_sign_its_grants(prod: Environment, admin_user: User, second_administrator: User) -> None:
    third = User.objects.create_superuser("third", password="x")
    robot = service_accounts.create("ci-robot", owner=second_administrator, purpose="x", by=by(admin_user))
    waiting = grants.grant(
        by=by(admin_user), person=robot.user, verbs=["trigger"], environment=prod, reason="x", confirm="prod"
    )
    assert isinstance(waiting, ChangeRequest)
    with refused("rules.beneficiary"):
        approvals.approve(waiting, by=by(second_administrator))
    approvals.approve(waiting, by=by(third))
    assert Grant.objects.filter(person=robot.user, environment=prod).exists()


def test_the_owner_does_not_sign_what_it_proposes(
    prod: Environment, admin_user: User, second_administrator: User, viewer: User
) -> None:
    third = User.objects.create_superuser("third", password="x")
    robot = service_accounts.create("ci-robot", owner=second_administrator, purpose="x", by=by(admin_user))
    for user in (robot.user, second_administrator):
        Grant.objects.create(person=user, environment=prod, verbs=["manage", "trigger"], granted_by_name="test")
    waiting = grants.grant(
        by=acting(robot, "manage", "trigger", environment=prod),
        person=viewer,
        verbs=["trigger"],
        environment=prod,
        reason="x",
        confirm="prod",
    )
    assert isinstance(waiting, ChangeRequest)
    with refused("approval.own"):
        approvals.approve(waiting, by=by(second_administrator))
    approvals.approve(waiting, by=by(third))


@pytest.mark.parametrize("what", ["password", "email", "enabled"])
def test_control_of_the_owner_is_control_of_the_account(
    prod: Environment, robot: ServiceAccount, admin_user: User, second_administrator: User, what: str
) -> None:
    # The owner has no grant in prod: what they can open there is what their service account can.
    owner = User.objects.get(pk=person("harmless").pk)
    ServiceAccount.objects.update(owner=owner)
    Grant.objects.create(person=robot.user, environment=prod, verbs=["trigger"], granted_by_name="test")
    if what == "password":
        owner.set_password("first-horse-battery")
        with refused("loosening.reason_required"):
            accounts.set_password(owner, by=by(admin_user))
        return
    if what == "enabled":
        User.objects.filter(pk=owner.pk).update(is_active=False)
    owner.email = "eve@example.com" if what == "email" else owner.email
    with refused("loosening.reason_required"):
        accounts.save_person(owner, groups=[], by=by(admin_user))


def test_a_delegate_gives_nothing_to_their_own(dev: Environment, robot: ServiceAccount, requester: User) -> None:
    Grant.objects.create(person=requester, environment=dev, verbs=["manage", "see"], granted_by_name="test")
    with pytest.raises(Refused) as caught:
        grants.grant(by=by(requester), person=robot.user, verbs=["see"], environment=dev, reason="x")
    assert caught.value.code == "service_account.own"


def test_disabling_counts_at_once_and_enabling_is_loosening(
    prod: Environment, robot: ServiceAccount, admin_user: User, second_administrator: User
) -> None:
    Grant.objects.create(person=robot.user, environment=prod, verbs=["trigger"], granted_by_name="test")
    options = {"owner": robot.owner, "purpose": robot.purpose, "by": by(admin_user)}
    assert service_accounts.change(robot, is_active=False, **options) is None
    assert not User.objects.get(pk=robot.user.pk).is_active
    assert service_accounts.change(robot, is_active=True, reason="again", confirm="prod", **options)
