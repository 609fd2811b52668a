"""Loosening the rules of a protected environment needs a reason and its name, and everyone in charge is told."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.forms import model_to_dict
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from flows.models import Environment
from runs.actors import Actor
from runs.governance import accounts, configuration, freezes, grants, loosening, policies
from runs.governance.loosening import loosened
from runs.models import AuditEntry, Grant, Policy, Verb, Window
from runs.models.notification import Topic
from runs.models.policy import Risk
from tests.background import notices
from tests.cast import by, make_environment
from tests.portal.page_elements import attributes, error_codes, form_errors
from tests.refusals import refused

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("single_administrator")]

Login = Callable[[User], Client]
CONFIRMED = {"reason": "migration weekend", "confirm": "prod"}


def with_values(environment: Environment, **columns: Any) -> Environment:
    """The environment as it would be saved."""
    changed = Environment.objects.select_related("server").get(pk=environment.pk)
    for name, value in columns.items():
        setattr(changed.server if hasattr(changed.server, name) else changed, name, value)
    return changed


def kinds(found: Any) -> list[str]:
    return [each.kind for each in found]


def told() -> list[str]:
    """Who was sent a message about loosened rules."""
    rows = notices().filter(topic=Topic.RULES).order_by("person__username")
    return list(rows.values_list("person__username", flat=True))


def last_entry() -> AuditEntry:
    return AuditEntry.objects.latest("sequence")


# The switches of an environment

LOOSER = {
    "is_protected": False,
    "needs_approval": False,
    "needs_reason": False,
    "approval_minutes": 481,
    "independence_hours": 23,
    "is_active": False,
    "api_url": "http://elsewhere.test/api",
    "credential_kind": "basic",
    "credential": "user:other",
}
STRICTER = {"approval_minutes": 60, "independence_hours": 48, "description": "x", "position": 7}


@pytest.mark.parametrize("column", LOOSER)
def test_each_switch_of_a_protected_environment_counts(column: str, prod: Environment) -> None:
    name = "sealed_credential" if column == "credential" else column
    assert kinds(loosened(prod, with_values(prod, **{column: LOOSER[column]}))) == [f"environment.{name}"]


def test_tightening_needs_nothing(prod: Environment, admin_user: User, auditor: User) -> None:
    changed = with_values(prod, **STRICTER)
    assert not loosened(prod, changed)
    configuration.save_environment(changed, by=by(admin_user))
    assert "loosened" not in last_entry().after
    assert not told()


def test_nor_does_any_change_of_one_that_is_not_protected(dev: Environment, admin_user: User) -> None:
    Environment.objects.filter(pk=dev.pk).update(needs_approval=True)
    configuration.save_environment(with_values(dev, needs_approval=False), by=by(admin_user))
    assert not Environment.objects.get(pk=dev.pk).loosened


def test_it_needs_a_reason_and_the_name(prod: Environment, admin_user: User) -> None:
    changed = with_values(prod, needs_approval=False)
    with refused("loosening.reason_required"):
        configuration.save_environment(changed, by=by(admin_user), confirm="prod")
    for typed in ("", "Prod", "prod dev", "production"):
        with refused("loosening.confirm") as caught:
            configuration.save_environment(changed, by=by(admin_user), reason="r", confirm=typed)
        assert caught.value.data == {"environments": ["prod"]}
    assert Environment.objects.get(pk=prod.pk).needs_approval
    configuration.save_environment(changed, by=by(admin_user), **CONFIRMED)
    assert not Environment.objects.get(pk=prod.pk).needs_approval


def test_the_entry_names_each_switch_and_everyone_in_charge_is_told(
    prod: Environment, admin_user: User, auditor: User, requester: User
) -> None:
    changed = with_values(prod, needs_approval=False, approval_minutes=600, position=3)
    configuration.save_environment(changed, by=by(admin_user), **CONFIRMED)
    entry = last_entry()
    assert [(each["kind"], each["environment"]) for each in entry.after["loosened"]] == [
        ("environment.needs_approval", "prod"),
        ("environment.approval_minutes", "prod"),
    ]
    assert entry.reason == CONFIRMED["reason"]
    assert told() == ["administrator", "auditor"]


def test_the_system_is_not_asked(prod: Environment, auditor: User) -> None:
    configuration.save_environment(with_values(prod, needs_approval=False), by=Actor.system())
    assert "loosened" in last_entry().after
    assert not told()


def test_without_its_protection_it_counts_as_protected_until_that_is_back(prod: Environment, admin_user: User) -> None:
    configuration.save_environment(with_values(prod, is_protected=False), by=by(admin_user), **CONFIRMED)
    with refused("loosening.reason_required"):
        configuration.save_environment(with_values(prod, needs_approval=False), by=by(admin_user))


# Policies, change windows, freezes

STRICT: dict[str, Any] = {
    "name": "strict",
    "stages": [{"needed": 2, "group": "Approver"}, {"needed": 1, "group": ""}],
    "approval_minutes": 60,
    "needs_reason": True,
    "needs_ticket": True,
    "ticket_pattern": "^OPS-",
    "ticket_link": "https://tickets.example/{ticket}",
    "needs_confirmation": True,
    "refuse_moving": True,
    "cancel_moved": True,
    "token_days": 7,
    "schedule_days": 30,
    "approve_each_run": True,
    "native_schedules": Policy.Native.REFUSE,
    "outside_window": Policy.Outside.REFUSE,
    "risk": Risk.HIGH,
    "tag": "crm",
}
LOOSER_POLICY = {
    "stages": [{"needed": 2, "group": "Approver"}],
    "approval_minutes": None,
    "needs_reason": False,
    "needs_ticket": False,
    "ticket_pattern": "",
    "needs_confirmation": False,
    "refuse_moving": False,
    "cancel_moved": False,
    "token_days": None,
    "schedule_days": None,
    "approve_each_run": False,
    "native_schedules": Policy.Native.ALLOW,
    "outside_window": Policy.Outside.WAIT,
    "risk": Risk.MEDIUM,
    "tag": "other",
    "flow_name": "monthly",
    "full_name": "monthly/monthly",
    "environment_id": 0,
}
AS_STRICT = {
    "stages": [{"needed": 3, "group": "Approver"}, {"needed": 1, "group": ""}],
    "approval_minutes": 30,
    "token_days": 1,
    "schedule_days": 7,
    "tag": "",
}
# Columns of rules that change nothing about what is allowed.
HARMLESS = {"name", "ticket_link", "reason"}


@pytest.mark.parametrize("column", LOOSER_POLICY)
def test_each_weaker_setting_of_a_policy_counts(column: str, prod: Environment, dev: Environment) -> None:
    before = Policy.objects.create(environment=prod, **STRICT)
    after = Policy.objects.get(pk=before.pk)
    setattr(after, column, LOOSER_POLICY[column] if column != "environment_id" else dev.pk)
    assert kinds(loosened(before, after)) == [f"policy.{column}"]


@pytest.mark.parametrize("column", AS_STRICT)
def test_a_stricter_policy_needs_nothing(column: str, prod: Environment) -> None:
    before = Policy.objects.create(environment=prod, **STRICT)
    after = Policy.objects.get(pk=before.pk)
    setattr(after, column, AS_STRICT[column])
    assert not loosened(before, after)
    assert not loosened(None, after)


def test_every_column_of_a_rule_is_judged() -> None:
    assert {*policies.POLICY} - {*loosening.POLICY} <= HARMLESS
    # A column that is missing in the service's list would be neither approved nor recorded.
    assert {*loosening.POLICY} - {*policies.POLICY} == {"environment_id"}
    assert {*policies.WINDOW} - {*loosening.WINDOW} <= HARMLESS


def test_a_rule_for_all_environments_needs_the_names_of_all_protected_ones(
    prod: Environment, dev: Environment, admin_user: User
) -> None:
    make_environment("prod-eu", api_url="http://eu.test/api", is_protected=True)
    policy = Policy.objects.create(**STRICT)
    with refused("loosening.confirm"):
        policies.delete_policy(policy, by=by(admin_user), reason="r", confirm="prod")
    policies.delete_policy(policy, by=by(admin_user), reason="r", confirm="prod-eu, prod")
    assert [each["environment"] for each in last_entry().after["loosened"]] == ["prod", "prod-eu"]
    other = Policy.objects.create(environment=dev, **STRICT)
    policies.delete_policy(other, by=by(admin_user))


def night(environment: Environment | None, **columns: Any) -> Window:
    plain = {"name": "night", "cron": "0 22 * * *", "minutes": 60, "time_zone": "UTC"}
    return Window(environment=environment, **(plain | columns))


def test_a_window_is_loosened_by_any_change_and_by_another_that_allows(prod: Environment) -> None:
    first = night(prod)
    # The first that allows closes all other times.
    assert not loosened(None, first)
    first.save()
    for column, value in {"effect": "deny", "cron": "0 23 * * *", "minutes": 30, "time_zone": "Europe/Vienna"}.items():
        after = Window.objects.get(pk=first.pk)
        setattr(after, column, value)
        assert kinds(loosened(first, after)) == [f"window.{column}"]
    after = Window.objects.get(pk=first.pk)
    after.is_active = False
    assert kinds(loosened(first, after)) == ["window.is_active"]
    assert kinds(loosened(first, None)) == ["window.deleted"]
    assert kinds(loosened(None, night(prod, name="day"))) == ["window.added"]
    assert kinds(loosened(None, night(None, name="day"))) == ["window.added"]
    assert not loosened(None, night(prod, name="backup", effect="deny"))
    # What is not in force can change.
    assert not loosened(after, night(prod, pk=first.pk, is_active=False, cron="0 1 * * *"))
    assert not loosened(after, None)


def test_windows_are_saved_and_deleted_behind_the_gate(prod: Environment, admin_user: User) -> None:
    window = night(prod)
    policies.save_window(window, by=by(admin_user))
    window.minutes = 600
    with refused("loosening.confirm"):
        policies.save_window(window, by=by(admin_user), reason="r")
    policies.save_window(window, by=by(admin_user), **CONFIRMED)
    with refused("loosening.reason_required"):
        policies.delete_window(window, by=by(admin_user))
    policies.delete_window(window, by=by(admin_user), **CONFIRMED)
    assert told() == ["administrator"] * 2


def test_the_end_of_a_freeze_is_confirmed_where_it_is_protected(
    prod: Environment, dev: Environment, admin_user: User, login: Login
) -> None:
    for environment in (prod, dev):
        freezes.freeze(environment, by=by(admin_user), reason="year end")
    freezes.unfreeze(dev, by=by(admin_user))
    with refused("loosening.confirm"):
        freezes.unfreeze(prod, by=by(admin_user), reason="done")
    page = login(admin_user).get(reverse("admin:flows_environment_change", args=[prod.pk])).content.decode()
    assert attributes(page, "data-loosens") == ["prod"]
    url = reverse("admin:flows_environment_unfreeze", args=[prod.pk])
    login(admin_user).post(url, {"reason": "done", "confirm": "prod"})
    assert freezes.freeze_of(prod) is None
    assert told() == ["administrator"]


# Grants


@pytest.mark.parametrize("verb", Verb.values)
def test_a_grant_counts_if_it_starts_approves_or_opens(
    verb: str, prod: Environment, dev: Environment, viewer: User
) -> None:
    def row(environment: Environment | None, effect: str = "allow") -> Grant:
        return Grant(person=viewer, verbs=[verb], effect=effect, environment=environment)

    harmless = {"see", "see inputs", "see logs", "cancel", "force cancel", "pause"}
    is_opening = verb not in harmless
    assert kinds(loosened(None, row(prod))) == ["grant.given"] * is_opening
    assert kinds(loosened(row(prod, "deny"), None)) == ["grant.denial_ended"] * is_opening
    # A denial for all environments holds in protected ones too, an allowing grant does not.
    assert kinds(loosened(row(None, "deny"), None)) == ["grant.denial_ended"] * is_opening
    for before, after in (
        (None, row(None)),
        (None, row(dev)),
        (row(dev, "deny"), None),
        (None, row(prod, "deny")),
        (row(prod), None),
    ):
        assert not loosened(before, after)


def test_grants_are_given_and_denials_ended_behind_the_gate(
    prod: Environment, admin_user: User, viewer: User, login: Login
) -> None:
    trigger: dict[str, Any] = {"person": viewer, "verbs": ["trigger"], "environment": prod}
    with refused("loosening.confirm"):
        grants.grant(by=by(admin_user), **trigger, reason="r")
    assert not Grant.objects.filter(person=viewer).exists()
    grants.grant(by=by(admin_user), **trigger, **CONFIRMED)
    assert kinds_of_entry() == ["grant.given"]
    denial = grants.grant(by=by(admin_user), **trigger, effect="deny", reason="r")
    page = login(admin_user).get(reverse("admin:runs_grant_change", args=[denial.pk])).content.decode()
    assert attributes(page, "data-loosens") == ["prod"]
    with refused("loosening.reason_required"):
        grants.revoke(denial, by=by(admin_user), confirm="prod")
    login(admin_user).post(reverse("admin:runs_grant_revoke", args=[denial.pk]), CONFIRMED)
    assert kinds_of_entry() == ["grant.denial_ended"]


def kinds_of_entry() -> list[str]:
    return [each["kind"] for each in last_entry().after["loosened"]]


def test_the_form_of_a_grant_asks_and_keeps_what_was_typed(
    prod: Environment, admin_user: User, viewer: User, login: Login
) -> None:
    client, url = login(admin_user), reverse("admin:runs_grant_add")
    body = {
        "who": f"person:{viewer.pk}",
        "effect": "allow",
        "verbs": ["see", "trigger"],
        "environment": prod.pk,
        "tag": "crm",
        "warned": "on",
    }
    answer = client.post(url, body)
    assert form_errors(answer) == {("reason", "loosening.reason_required"), ("loosening_confirm", "loosening.confirm")}
    assert 'value="crm"' in answer.content.decode()
    assert client.post(url, {**body, "reason": "cover", "loosening_confirm": "prod"}).status_code == 302
    assert last_entry().reason == "cover"


# Accounts


@pytest.fixture
def operators(prod: Environment) -> Group:
    """A group that may run in prod."""
    group = Group.objects.get(name="Operator")
    grants.grant(by=Actor.system(), group=group, verbs=["trigger"], environment=prod)
    return group


def changed(person: User, **columns: Any) -> User:
    found = User.objects.get(pk=person.pk)
    for name, value in columns.items():
        setattr(found, name, value)
    return found


def test_what_opens_an_account_counts(prod: Environment, operators: Group, stranger: User) -> None:
    denied = Group.objects.create(name="Denied")
    grants.grant(by=Actor.system(), group=denied, verbs=["approve"], effect="deny")
    signers = Group.objects.create(name="Signers")
    Policy.objects.create(name="signed", environment=prod, stages=[{"needed": 1, "group": "Signers"}])

    def opened(person: User, *groups: Group) -> list[str]:
        return kinds(accounts.loosened_by(User.objects.filter(pk=person.pk).first(), person, groups))

    # 1. Groups: those that can run there or sign for it, in; those that are denied, out.
    assert opened(stranger, operators) == ["account.group"]
    assert opened(stranger, signers) == ["account.group"]
    assert opened(User(username="new"), operators) == ["account.group"]
    assert not opened(stranger, Group.objects.get(name="Viewer"))
    stranger.groups.set([denied])
    assert opened(stranger) == ["account.group"]
    # 2. Administrators reach everything.
    assert opened(changed(stranger, is_superuser=True), denied) == ["account.administrator"]
    # 3. An account that is enabled, by either switch; and only one that can open something.
    stranger.groups.set([operators])
    for switch in ("is_active", "is_staff"):
        User.objects.filter(pk=stranger.pk).update(**{switch: False})
        assert opened(changed(stranger, **{switch: True}), operators) == ["account.enabled"]
        User.objects.filter(pk=stranger.pk).update(**{switch: True})
    assert kinds(accounts.loosened_by_password(stranger)) == ["account.password"]
    # 4. An address to which a link for a new password can go.
    assert opened(changed(stranger, email="stranger@portal.example"), operators) == ["account.email"]
    # 5. What takes something away.
    User.objects.filter(pk=stranger.pk).update(email="stranger@portal.example")
    assert not opened(changed(stranger, email=""), operators)
    assert not opened(changed(stranger, is_active=False))
    stranger.groups.clear()
    assert not accounts.loosened_by_password(stranger)
    assert not opened(changed(stranger, email="other@portal.example"))


def test_a_grant_that_starts_later_counts_and_one_that_ended_does_not(
    prod: Environment, stranger: User, admin_user: User
) -> None:
    now = timezone.now()
    row = grants.grant(by=Actor.system(), person=stranger, verbs=["trigger"], environment=prod, valid_from=now)
    for columns, is_open in (
        ({"valid_from": now + timedelta(days=9)}, True),
        ({"valid_until": now - timedelta(days=1)}, False),
        ({"valid_until": None, "revoked_at": now}, False),
    ):
        Grant.objects.filter(pk=row.pk).update(**columns)
        assert bool(accounts.loosened_by_password(stranger)) == is_open


def test_accounts_are_saved_behind_the_gate(
    prod: Environment, operators: Group, stranger: User, admin_user: User
) -> None:
    with refused("loosening.reason_required"):
        accounts.save_person(stranger, groups=[operators], by=by(admin_user))
    assert not stranger.groups.exists()
    accounts.save_person(stranger, groups=[operators], by=by(admin_user), **CONFIRMED)
    assert kinds_of_entry() == ["account.group"]
    stranger.set_password("a-long-enough-phrase")
    with refused("loosening.confirm"):
        accounts.set_password(stranger, by=by(admin_user), reason="r")
    accounts.set_password(stranger, by=by(admin_user), **CONFIRMED)
    assert kinds_of_entry() == ["account.password"]
    assert told() == ["administrator"] * 2


def test_the_pages_of_people_ask(
    prod: Environment, operators: Group, stranger: User, admin_user: User, login: Login
) -> None:
    client = login(admin_user)
    confirmed = {"loosening_reason": "r", "loosening_confirm": "prod"}
    errors = {("loosening_reason", "loosening.reason_required"), ("loosening_confirm", "loosening.confirm")}
    password = {"usable_password": "true", "password1": "a-long-enough-phrase", "password2": "a-long-enough-phrase"}
    bodies = {
        reverse("admin:auth_user_change", args=[stranger.pk]): {
            "username": "stranger",
            "is_active": "on",
            "is_staff": "on",
            "groups": [operators.pk],
        },
        reverse("admin:auth_user_add"): {"username": "nina", "is_staff": "on", "groups": [operators.pk], **password},
        reverse("admin:auth_user_password_change", args=[stranger.pk]): password,
    }
    for url, body in bodies.items():
        answer = client.post(url, body)
        assert answer.status_code == 200, url
        form = answer.context["adminform"].form if "adminform" in answer.context else answer.context["form"]
        assert {(name, code) for name, codes in error_codes(form).items() for code in codes} == errors
        assert attributes(answer.content.decode(), "data-loosening"), url
        assert client.post(url, body | confirmed).status_code == 302, url
    assert stranger.groups.get() == operators
    assert User.objects.get(username="nina").groups.get() == operators


# The banner


def test_a_banner_stands_until_the_switch_is_back(prod: Environment, admin_user: User, login: Login) -> None:
    pages = [
        reverse("admin:index"),
        reverse("admin:flows_environment_change", args=[prod.pk]),
        reverse("admin:flows_environment_calendar", args=[prod.pk]),
        reverse("admin:runs_run_changelist"),
        reverse("admin:flows_deployment_changelist"),
    ]
    client = login(admin_user)
    configuration.save_environment(with_values(prod, approval_minutes=600), by=by(admin_user), **CONFIRMED)
    configuration.save_environment(with_values(prod, needs_approval=False), by=by(admin_user), **CONFIRMED)
    # Less loose than a moment ago, but still looser than before: the banner keeps its beginning.
    first = Environment.objects.get(pk=prod.pk).loosened["approval_minutes"]
    configuration.save_environment(with_values(prod, approval_minutes=500), by=by(admin_user))
    assert Environment.objects.get(pk=prod.pk).loosened["approval_minutes"] == first
    for page in pages:
        found = attributes(client.get(page).content.decode(), "data-loosened")
        assert sorted(set(found)) == ["approval_minutes", "needs_approval"], page
    configuration.save_environment(with_values(prod, needs_approval=True, approval_minutes=480), by=by(admin_user))
    for page in pages:
        assert not attributes(client.get(page).content.decode(), "data-loosened"), page


# The form


def form_of(environment: Environment, **values: Any) -> dict[str, Any]:
    """What the form of an environment sends; unticked boxes are left out."""
    columns = model_to_dict(environment) | model_to_dict(environment.server)
    sent = {name: value for name, value in columns.items() if value is not False and value is not None}
    return {name: value for name, value in (sent | values).items() if value is not None}


def test_the_form_asks_once_it_was_sent(prod: Environment, admin_user: User, login: Login) -> None:
    client, url = login(admin_user), reverse("admin:flows_environment_change", args=[prod.pk])
    assert "loosening_confirm" not in client.get(url).content.decode()
    body = form_of(prod, needs_approval=None, description="typed")
    answer = client.post(url, body)
    assert form_errors(answer) == {
        ("loosening_reason", "loosening.reason_required"),
        ("loosening_confirm", "loosening.confirm"),
    }
    page = answer.content.decode()
    assert attributes(page, "data-loosening") == ["environment.needs_approval"]
    assert 'value="typed"' in page
    answer = client.post(url, {**body, "loosening_reason": "r", "loosening_confirm": "prod"})
    assert answer.status_code == 302
    prod.refresh_from_db()
    assert (prod.needs_approval, prod.description) == (False, "typed")
    assert last_entry().reason == "r"


def test_the_form_of_another_change_does_not_ask(prod: Environment, admin_user: User, login: Login) -> None:
    url = reverse("admin:flows_environment_change", args=[prod.pk])
    assert login(admin_user).post(url, form_of(prod, description="typed")).status_code == 302


def test_the_list_of_the_trail_names_the_switches(
    prod: Environment, dev: Environment, admin_user: User, auditor: User, login: Login
) -> None:
    configuration.save_environment(with_values(dev, position=3), by=by(admin_user))
    configuration.save_environment(with_values(prod, needs_approval=False), by=by(admin_user), **CONFIRMED)
    page = login(auditor).get(reverse("admin:runs_auditentry_changelist")).content.decode()
    assert "prod: needs approval: on → off" in page
    assert "sort order: 0 → 3" in page


def test_those_in_charge_cannot_switch_the_message_off(admin_user: User, viewer: User, login: Login) -> None:
    url = reverse("admin:runs_notification_changelist")
    for user, is_fixed in ((admin_user, True), (viewer, False)):
        table = dict(login(user).get(url).context["table"])
        assert all(cell.is_fixed == is_fixed for cell in table[Topic.RULES.label])
