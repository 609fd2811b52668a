"""An approval by someone who lately made or changed the requester's account, or the reverse, does not count."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, requests
from runs.actors import Actor
from runs.governance import accounts, grants, independence, policies
from runs.governance.independence import AccountChange, Change
from runs.models import AuditEntry, Policy, RunRequest
from runs.models.request import State
from tests.cast import ANSWERS, ASKS, by, person
from tests.portal.page_elements import attributes, has_button, message_codes
from tests.refusals import refused

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("single_administrator")]

PASSWORD = "a-long-enough-phrase"
# A lone administrator confirms to themselves; that everyone in charge is told is another rule.
CONFIRMED = {"reason": "r", "confirm": "prod"}
TYPED = {f"loosening_{name}": text for name, text in CONFIRMED.items()}


@pytest.fixture
def ada(prod: Environment) -> User:
    """The administrator of the finding; she may approve by a grant of her own that is older than the trail."""
    return person("ada", is_superuser=True)


@pytest.fixture
def anna(prod: Environment) -> User:
    return person("anna", "Approver")


@pytest.fixture(autouse=True)
def rules_of_prod(prod: Environment) -> None:
    """What the installation gave to two groups; the system is no person."""
    for name, verbs in (("Approver", ANSWERS), ("Operator", [*ASKS, "break glass"])):
        grants.grant(by=Actor.system(), group=Group.objects.get(name=name), verbs=verbs, environment=prod)


def ask(deployment: Deployment, user: User, **columns: Any) -> RunRequest:
    return requests.submit(deployment, {"month": "2026-10"}, by=by(user), reason="month end", **columns)


def make(name: str, *groups: str, by_user: User) -> User:
    user = User(username=name, is_staff=True)
    user.set_unusable_password()
    accounts.save_person(user, groups=Group.objects.filter(name__in=groups), by=by(by_user), **CONFIRMED)
    return user


def join(user: User, *groups: str, by_user: User) -> None:
    joined = Group.objects.filter(name__in=groups)
    accounts.save_person(User.objects.get(pk=user.pk), groups=joined, by=by(by_user), **CONFIRMED)


def set_password(user: User, *, by_user: User) -> None:
    accounts.set_password(user, by=by(by_user), **CONFIRMED)


# The two ways of the finding, by service


def test_the_maker_of_the_requester_does_not_approve(prod_deployment: Deployment, ada: User) -> None:
    ghost = make("ghost", "Operator", by_user=ada)
    join(ada, "Approver", by_user=ada)
    waiting = ask(prod_deployment, ghost)
    with refused("approval.not_independent") as caught:
        changes.approve(waiting.change, by=by(ada))
    (change,) = caught.value.data["changes"]
    assert (change["by"], change["person"], change["kind"]) == ("ada", "ghost", "created")
    waiting.refresh_from_db()
    assert waiting.state == State.HELD
    entry = AuditEntry.objects.filter(verb="request.approve").latest("sequence")
    assert entry.after["refused"]["code"] == "approval.not_independent"


def test_nor_under_the_name_of_someone_whose_password_they_set(
    prod_deployment: Deployment, ada: User, anna: User
) -> None:
    waiting = ask(prod_deployment, make("ghost", "Operator", by_user=ada))
    set_password(anna, by_user=ada)
    with refused("approval.not_independent") as caught:
        changes.approve(waiting.change, by=by(anna))
    found = [(each["by"], each["person"], each["kind"]) for each in caught.value.data["changes"]]
    assert sorted(found) == [("ada", "anna", "password"), ("ada", "ghost", "created")]


def test_nor_under_the_name_of_someone_whose_email_address_they_changed(
    prod_deployment: Deployment, ada: User, anna: User
) -> None:
    """A link for a new password goes to that address."""
    waiting = ask(prod_deployment, make("ghost", "Operator", by_user=ada))
    anna.email = "ada@portal.example"
    accounts.save_person(anna, groups=anna.groups.all(), by=by(ada), **CONFIRMED)
    with refused("approval.not_independent") as caught:
        changes.approve(waiting.change, by=by(anna))
    found = [(each["by"], each["person"], each["kind"]) for each in caught.value.data["changes"]]
    assert sorted(found) == [("ada", "anna", "email"), ("ada", "ghost", "created")]


# And through the pages


def fill(client: Client, name: str, *, args: list[int] | None = None, **values: Any) -> None:
    answer = client.post(reverse(f"admin:{name}", args=args or []), values | TYPED)
    assert answer.status_code == 302, answer.content.decode()


def group_keys(*names: str) -> list[int]:
    return list(Group.objects.filter(name__in=names).values_list("pk", flat=True))


def approve_on_page(client: Client, waiting: RunRequest) -> list[str]:
    url = reverse("admin:runs_runrequest_approve", args=[waiting.pk])
    return message_codes(client.post(url, {"displayed_digest": waiting.change.digest, "reason": ""}, follow=True))


def test_through_the_pages_neither_way_launches(
    prod_deployment: Deployment, ada: User, anna: User, login: Callable[[User], Client]
) -> None:
    # 1. ada makes ghost, and joins the approvers.
    office = login(ada)
    password = {"usable_password": "true", "password1": PASSWORD, "password2": PASSWORD}
    fill(office, "auth_user_add", username="ghost", is_staff="on", groups=group_keys("Operator"), **password)
    own = {"username": "ada", "is_staff": "on", "is_active": "on", "is_superuser": "on"}
    fill(office, "auth_user_change", args=[ada.pk], **own, groups=group_keys("Approver"))
    # 2. ghost asks.
    ghost = Client()
    ghost.post(reverse("admin:login"), {"username": "ghost", "password": PASSWORD})
    waiting = ask(prod_deployment, User.objects.get(username="ghost"))
    # 3. ada approves: refused, and the page says why beforehand.
    page = office.get(reverse("admin:runs_runrequest_change", args=[waiting.pk])).content.decode()
    assert not has_button(page, "approve")
    assert "approval.not_independent" in attributes(page, "data-why")
    assert approve_on_page(office, waiting) == ["approval.not_independent"]
    # 4. As anna, with a password that ada set.
    fill(office, "auth_user_password_change", args=[anna.pk], **password)
    as_anna = Client()
    as_anna.post(reverse("admin:login"), {"username": "anna", "password": PASSWORD})
    assert approve_on_page(as_anna, waiting) == ["approval.not_independent"]
    waiting.refresh_from_db()
    assert waiting.state == State.HELD
    assert not waiting.change.approvals.exists()


def test_a_password_that_someone_else_chose_approves_nothing(
    prod_deployment: Deployment, requester: User, ada: User, anna: User, login: Callable[[User], Client]
) -> None:
    waiting = ask(prod_deployment, requester)
    anna.set_password(PASSWORD)
    anna.save()
    set_password(anna, by_user=ada)
    url = reverse("admin:runs_runrequest_change", args=[waiting.pk])
    assert "approval.password_not_own" in attributes(login(anna).get(url).content.decode(), "data-why")
    with refused("approval.password_not_own") as caught:
        changes.approve(waiting.change, by=by(anna))
    assert caught.value.data == {"by": "ada"}
    # 1. By the page for one's own password.
    own = {"old_password": PASSWORD, "new_password1": PASSWORD[::-1], "new_password2": PASSWORD[::-1]}
    assert login(anna).post(reverse("admin:password_change"), own).status_code == 302
    changes.approve(waiting.change, by=by(User.objects.get(pk=anna.pk)))
    waiting.refresh_from_db()
    assert waiting.state == State.APPROVED


def test_nor_does_the_first_password_of_an_account(prod_deployment: Deployment, requester: User, ada: User) -> None:
    nina = User(username="nina", is_staff=True)
    nina.set_password(PASSWORD)
    accounts.save_person(nina, groups=Group.objects.filter(name="Approver"), by=by(ada), **CONFIRMED)
    emergency = changes.break_glass(ask(prod_deployment, requester).change, by=by(firefighter()), reason="fire")
    with refused("approval.password_not_own"):
        changes.approve(ask(prod_deployment, requester, ticket="2").change, by=by(nina))
    with refused("approval.password_not_own"):
        changes.review(emergency, by=by(nina), was_right=True, text="it was")
    # Who signs in elsewhere has none.
    nina.set_unusable_password()
    nina.save()
    changes.approve(ask(prod_deployment, requester, ticket="3").change, by=by(nina))


def firefighter() -> User:
    return person("firefighter", "Operator")


def test_a_long_chain_of_accounts_leads_back_to_its_beginning(prod_deployment: Deployment, ada: User) -> None:
    last = ada
    for number in range(12):
        last = make(f"ghost-{number}-x", "Operator", by_user=last)
        last.is_superuser = True
        last.save()
    ada.groups.set(Group.objects.filter(name="Approver"))
    with refused("approval.not_independent") as caught:
        changes.approve(ask(prod_deployment, last).change, by=by(ada))
    assert len(caught.value.data["changes"]) == 12


# The rule


def edge(by_id: int, person_id: int, kind: Change = Change.GROUPS) -> AccountChange:
    return AccountChange(by_id, str(by_id), person_id, str(person_id), kind, "", timezone.now())


@pytest.mark.parametrize(
    ("changes_made", "is_independent"),
    [
        ([], True),
        ([edge(1, 2)], False),
        ([edge(2, 1)], False),
        # By anyone the other made or changed.
        ([edge(1, 3), edge(3, 2)], False),
        ([edge(1, 3), edge(3, 4), edge(4, 2)], False),
        # A third person who may be acting as both, or as one and changed the other.
        ([edge(3, 1, Change.PASSWORD), edge(3, 2, Change.CREATED)], False),
        ([edge(3, 1, Change.CREATED), edge(3, 2)], False),
        # An administrator who gave both a group is neither of them.
        ([edge(3, 1), edge(3, 2)], True),
        ([edge(3, 1, Change.CREATED)], True),
        ([edge(1, 3), edge(2, 3)], True),
        # Who changed each other in a circle is found all the same.
        ([edge(3, 4), edge(4, 3), edge(4, 1, Change.PASSWORD), edge(3, 2)], False),
    ],
)
def test_the_rule(changes_made: list[AccountChange], is_independent: bool) -> None:
    assert (not independence.connection(changes_made, 1, 2)) == is_independent
    assert (not independence.connection(changes_made, 2, 1)) == is_independent


# What counts


def grant_to(user: User, by_user: User, prod: Environment, **columns: Any) -> None:
    grants.grant(by=by(by_user), person=user, verbs=["see"], environment=prod, reason="r", **columns)


CHANGES: dict[str, Callable[[User, User, Environment], object]] = {
    "groups": lambda ada, user, prod: join(user, "Viewer", "Operator", by_user=ada),
    "a grant": lambda ada, user, prod: grant_to(user, ada, prod),
    "a grant to a group": lambda ada, user, prod: grants.grant(
        by=by(ada), group=user.groups.get(), verbs=["see"], environment=prod, reason="r"
    ),
    "an ended denial": lambda ada, user, prod: grants.revoke(
        grants.grant(by=by(ada), person=user, verbs=["pause"], effect="deny", environment=prod, reason="r"), by=by(ada)
    ),
    "a group renamed": lambda ada, user, prod: rename(user.groups.get(), by_user=ada),
    "the password": lambda ada, user, prod: set_password(user, by_user=ada),
}


def rename(group: Group, *, by_user: User) -> None:
    group.name = f"{group.name}s"
    accounts.save_group(group, permissions=[], by=by(by_user))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_each_change_of_the_approver_by_the_requester_counts(
    change: Callable[[User, User, Environment], object], prod_deployment: Deployment, prod: Environment, ada: User
) -> None:
    ada.groups.set(Group.objects.filter(name="Operator"))
    mate = person("mate", "Approver")
    grants.grant(by=Actor.system(), person=mate, verbs=ANSWERS, environment=prod)
    waiting = ask(prod_deployment, ada)
    change(ada, mate, prod)
    with refused("approval.not_independent"):
        changes.approve(waiting.change, by=by(mate))
    # Rejecting needs no independence.
    changes.reject(waiting.change, by=by(mate), reason="no")
    waiting.refresh_from_db()
    assert waiting.state == State.REJECTED


def test_what_takes_something_away_does_not(
    prod_deployment: Deployment, prod: Environment, ada: User, anna: User
) -> None:
    ada.groups.set(Group.objects.filter(name="Operator"))
    grants.grant(by=by(ada), person=anna, verbs=["pause"], effect="deny", environment=prod, reason="r")
    given = grants.grant(by=Actor.system(), person=anna, verbs=["pause"], environment=prod)
    grants.revoke(given, by=by(ada))
    changes.approve(ask(prod_deployment, ada).change, by=by(anna))


def test_what_the_system_did_and_what_one_did_oneself_does_not(
    prod_deployment: Deployment, requester: User, ada: User
) -> None:
    nina = User(username="nina")
    accounts.save_person(nina, groups=Group.objects.filter(name="Operator"), by=Actor.system())
    ada.groups.set(Group.objects.filter(name="Approver"))
    join(ada, "Approver", "Viewer", by_user=ada)
    changes.approve(ask(prod_deployment, nina).change, by=by(ada))


def test_the_person_acted_for_counts(prod_deployment: Deployment, requester: User, ada: User) -> None:
    ada.groups.set(Group.objects.filter(name="Approver"))
    ghost = make("ghost", "Viewer", by_user=ada)
    waiting = ask(prod_deployment, requester, on_behalf_of=ghost)
    with refused("approval.not_independent"):
        changes.approve(waiting.change, by=by(ada))


def test_two_approvals_are_not_given_by_one_person(
    prod_deployment: Deployment, prod: Environment, requester: User, ada: User, anna: User
) -> None:
    two = Policy(name="two", environment=prod, stages=[{"needed": 2, "group": "Approver"}])
    policies.save_policy(two, by=Actor.system())
    waiting = ask(prod_deployment, requester)
    ada.groups.set(Group.objects.filter(name="Approver"))
    changes.approve(waiting.change, by=by(ada))
    waiting.refresh_from_db()
    set_password(anna, by_user=ada)
    with refused("approval.not_independent"):
        changes.approve(waiting.change, by=by(anna))


def test_an_override_is_not_reviewed_by_someone_who_made_its_user(
    prod_deployment: Deployment, requester: User, ada: User, anna: User
) -> None:
    ghost = make("ghost", "Operator", by_user=ada)
    waiting = ask(prod_deployment, requester)
    emergency = changes.break_glass(waiting.change, by=by(ghost), reason="fire")
    join(ada, "Approver", by_user=ada)
    for user in (ada, anna):
        # anna made nobody: she may.
        if user == anna:
            changes.review(emergency, by=by(user), was_right=True, text="it was")
        else:
            with refused("approval.not_independent"):
                changes.review(emergency, by=by(user), was_right=True, text="it was")


# The window


def test_what_is_older_than_the_window_does_not_count(
    prod_deployment: Deployment, prod: Environment, ada: User, anna: User
) -> None:
    waiting = ask(prod_deployment, make("ghost", "Operator", by_user=ada))
    assert independence.Involved.of(waiting.change, anna.pk).changes
    assert prod.independence_hours == 24
    # As if the account had been made a day and an hour before the request.
    waiting.change.requested_at += timedelta(hours=25)
    assert not independence.Involved.of(waiting.change, anna.pk).changes
    # Waiting with the approval does not help: the time is counted from the request.
    waiting.change.requested_at -= timedelta(hours=2)
    assert independence.Involved.of(waiting.change, anna.pk).changes


def test_zero_hours_switch_it_off_and_it_is_told_all_the_same(
    prod_deployment: Deployment, prod: Environment, ada: User, login: Callable[[User], Client]
) -> None:
    Environment.objects.filter(pk=prod.pk).update(independence_hours=0)
    prod_deployment.refresh_from_db()
    ghost = make("ghost", "Operator", by_user=ada)
    join(ada, "Approver", by_user=ada)
    waiting = ask(prod_deployment, ghost)
    page = login(ada).get(reverse("admin:runs_runrequest_change", args=[waiting.pk])).content.decode()
    assert attributes(page, "data-account-change") == ["created"]
    changes.approve(waiting.change, by=by(ada))
    waiting.refresh_from_db()
    assert waiting.state == State.APPROVED


# What is told


def test_the_page_and_the_trail_say_who_made_the_requester(
    prod_deployment: Deployment, ada: User, anna: User, auditor: User, login: Callable[[User], Client]
) -> None:
    waiting = ask(prod_deployment, make("ghost", "Operator", by_user=ada))
    changes.approve(waiting.change, by=by(anna))
    waiting.refresh_from_db()
    page = login(anna).get(reverse("admin:runs_runrequest_change", args=[waiting.pk])).content.decode()
    assert attributes(page, "data-account-change") == ["created"]
    assert attributes(page, "data-person") == ["ghost"]
    assert "ada created the account ghost" in page
    for verb in ("request.submit", "request.approve"):
        entry = AuditEntry.objects.get(verb=verb)
        (told,) = entry.after["account_changes"]
        assert (told["by"], told["person"], told["kind"]) == ("ada", "ghost", "created")
        assert datetime.fromisoformat(told["at"]) < entry.at
        page = login(auditor).get(reverse("admin:runs_auditentry_change", args=[entry.pk])).content.decode()
        assert attributes(page, "data-account-change") == ["created"]


def test_of_an_ordinary_request_nothing_is_told(
    prod_deployment: Deployment, requester: User, anna: User, login: Callable[[User], Client]
) -> None:
    waiting = ask(prod_deployment, requester)
    changes.approve(waiting.change, by=by(anna))
    waiting.refresh_from_db()
    assert not AuditEntry.objects.filter(after__has_key="account_changes").exists()
    page = login(anna).get(reverse("admin:runs_runrequest_change", args=[waiting.pk])).content.decode()
    assert not attributes(page, "data-account-change")


SENTENCES = {
    "ada added nina to Viewer": {"groups": ["Operator", "Viewer"]},
    "ada removed nina from Operator": {"groups": []},
    "ada made nina an administrator": {"is_superuser": True},
    "ada disabled the account nina": {"is_active": False},
    "ada changed the account nina": {"first_name": "Nina"},
    "ada changed the email address of nina": {"email": "nina@example.com"},
    "ada changed the email address of nina, added nina to Viewer": {
        "email": "nina@example.com",
        "groups": ["Operator", "Viewer"],
    },
    "ada made nina an administrator, added nina to Viewer": {"is_superuser": True, "groups": ["Operator", "Viewer"]},
}


@pytest.mark.parametrize("sentence", SENTENCES)
def test_each_change_is_told_in_words(sentence: str, ada: User) -> None:
    nina = person("nina", "Operator")
    since = timezone.now()
    columns = dict(SENTENCES[sentence])
    groups = columns.pop("groups", ["Operator"])
    for name, value in columns.items():
        setattr(nina, name, value)
    accounts.save_person(nina, groups=Group.objects.filter(name__in=groups), by=by(ada), **CONFIRMED)
    (change,) = independence.account_changes([nina.pk], since)
    assert change.what == sentence
