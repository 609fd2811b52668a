"""What loosens the rules of a protected environment waits for a second administrator, then happens as it was asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import Group, User
from django.db import DatabaseError, transaction
from django.utils import timezone

from flows import encryption
from flows.models import Environment
from runs import audit, changes, key_rotation, tasks
from runs.actors import Actor
from runs.governance import accounts, configuration, freezes, grants, policies, rule_changes
from runs.models import (
    Approval,
    AuditEntry,
    BreakGlass,
    ChangeRequest,
    Freeze,
    Grant,
    Policy,
    RuleChange,
    RunEvent,
    Window,
)
from runs.models.notification import Topic
from tests.background import notices
from tests.cast import by, person
from tests.refusals import refused

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("second_administrator")]

State = ChangeRequest.State
CONFIRMED = {"reason": "migration weekend", "confirm": "prod"}


@dataclass
class World:
    """Rows that the acts below are about."""

    prod: Environment
    admin: User
    operators: Group
    someone: User
    policy: Policy
    allowing: Window
    denial: Grant


@pytest.fixture
def world(prod: Environment, admin_user: User) -> World:
    operators = Group.objects.get(name="Operator")
    grants.grant(by=Actor.system(), group=operators, verbs=["trigger"], environment=prod)
    someone = person("someone", "Operator", email="someone@example.com")
    policy = Policy.objects.create(name="Typed", environment=prod, needs_confirmation=True)
    window = Window.objects.create(name="Night", environment=prod, cron="0 22 * * *", minutes=60)
    denial = grants.grant(by=Actor.system(), person=someone, verbs=["approve"], effect="deny", environment=prod)
    assert isinstance(denial, Grant)
    freezes.freeze(prod, by=by(admin_user), reason="year end")
    return World(prod, admin_user, operators, someone, policy, window, denial)


def loaded(row: Any, **columns: Any) -> Any:
    found = type(row).objects.get(pk=row.pk)
    for name, value in columns.items():
        setattr(found, name, value)
    return found


def with_server(environment: Environment, **columns: Any) -> Environment:
    found = Environment.objects.select_related("server").get(pk=environment.pk)
    for name, value in columns.items():
        setattr(found.server, name, value)
    return found


def with_password(user: User, password: str) -> User:
    found = User.objects.get(pk=user.pk)
    found.set_password(password)
    return found


def new_person(name: str) -> User:
    user = User(username=name, is_staff=True)
    user.set_password("a-long-enough-phrase")
    return user


type Act = Callable[[World, Actor], Any]
type Look = Callable[[World], object]
# name -> the act, what it changes, and what that is afterwards
ACTS: dict[str, tuple[Act, Look, object]] = {
    "a switch of an environment": (
        lambda w, who: configuration.save_environment(loaded(w.prod, needs_approval=False), by=who, **CONFIRMED),
        lambda w: Environment.objects.get(pk=w.prod.pk).needs_approval,
        False,
    ),
    "another server with its credential": (
        lambda w, who: configuration.save_environment(
            with_server(w.prod, api_url="http://new.test/api", credential_kind="basic", credential="a:b"),
            by=who,
            **CONFIRMED,
        ),
        lambda w: (
            (server := Environment.objects.get(pk=w.prod.pk).server).api_url,
            server.credential_kind,
            server.credential,
        ),
        ("http://new.test/api", "basic", "a:b"),
    ),
    "a weaker policy": (
        lambda w, who: policies.save_policy(loaded(w.policy, needs_confirmation=False), by=who, **CONFIRMED),
        lambda w: Policy.objects.get(pk=w.policy.pk).needs_confirmation,
        False,
    ),
    "a deleted policy": (
        lambda w, who: policies.delete_policy(loaded(w.policy), by=who, **CONFIRMED),
        lambda w: Policy.objects.filter(pk=w.policy.pk).exists(),
        False,
    ),
    "a changed window": (
        lambda w, who: policies.save_window(loaded(w.allowing, minutes=120), by=who, **CONFIRMED),
        lambda w: Window.objects.get(pk=w.allowing.pk).minutes,
        120,
    ),
    "one more window": (
        lambda w, who: policies.save_window(
            Window(name="Noon", environment=w.prod, cron="0 12 * * *", minutes=30), by=who, **CONFIRMED
        ),
        lambda w: list(Window.objects.filter(name="Noon").values_list("cron", "minutes", "environment__slug")),
        [("0 12 * * *", 30, "prod")],
    ),
    "a deleted window": (
        lambda w, who: policies.delete_window(loaded(w.allowing), by=who, **CONFIRMED),
        lambda w: Window.objects.filter(pk=w.allowing.pk).exists(),
        False,
    ),
    "the end of a freeze": (
        lambda w, who: freezes.unfreeze(w.prod, by=who, **CONFIRMED),
        lambda w: Freeze.objects.filter(environment=w.prod, lifted_at=None).exists(),
        False,
    ),
    "a grant": (
        lambda w, who: grants.grant(
            by=who,
            person=w.someone,
            verbs=["approve", "trigger later"],
            environment=w.prod,
            flow_name="monthly",
            predicate={"properties": {"rows": {"maximum": 1e3}}},
            valid_until=timezone.now().replace(year=2035),
            **CONFIRMED,
        ),
        lambda w: list(
            Grant.objects.filter(person=w.someone, effect="allow").values_list(
                "verbs", "flow_name", "predicate", "granted_by_name", "reason", "valid_until__year"
            )
        ),
        [
            (
                ["trigger later", "approve"],
                "monthly",
                {"properties": {"rows": {"maximum": 1000}}},
                "administrator",
                CONFIRMED["reason"],
                2035,
            )
        ],
    ),
    "the end of a denial": (
        lambda w, who: grants.revoke(loaded(w.denial), by=who, **CONFIRMED),
        lambda w: Grant.objects.get(pk=w.denial.pk).revoked_by_name,
        "administrator",
    ),
    "a new account in a group": (
        lambda w, who: accounts.save_person(new_person("nina"), groups=[w.operators], by=who, **CONFIRMED),
        lambda w: [
            (user.check_password("a-long-enough-phrase"), [group.name for group in user.groups.all()])
            for user in User.objects.filter(username="nina")
        ],
        [(True, ["Operator"])],
    ),
    "a new administrator": (
        lambda w, who: accounts.save_person(
            loaded(w.someone, is_superuser=True), groups=[w.operators], by=who, **CONFIRMED
        ),
        lambda w: User.objects.get(pk=w.someone.pk).is_superuser,
        True,
    ),
    "another address": (
        lambda w, who: accounts.save_person(
            loaded(w.someone, email="else@example.com"), groups=[w.operators], by=who, **CONFIRMED
        ),
        lambda w: User.objects.get(pk=w.someone.pk).email,
        "else@example.com",
    ),
    "another password": (
        lambda w, who: accounts.set_password(with_password(w.someone, "chosen-by-another"), by=who, **CONFIRMED),
        lambda w: User.objects.get(pk=w.someone.pk).check_password("chosen-by-another"),
        True,
    ),
}
# act -> what makes its row another one than the one that was displayed
MOVES: dict[str, Callable[[World], Any]] = {
    "a switch of an environment": lambda w: Environment.objects.filter(pk=w.prod.pk).update(approval_minutes=5),
    "another server with its credential": lambda w: with_server(w.prod, credential="x:y").server.save(),
    "a weaker policy": lambda w: Policy.objects.filter(pk=w.policy.pk).update(needs_reason=True),
    "a deleted policy": lambda w: Policy.objects.filter(pk=w.policy.pk).update(refuse_moving=True),
    "a changed window": lambda w: Window.objects.filter(pk=w.allowing.pk).update(reason="other"),
    "one more window": lambda w: None,
    "a deleted window": lambda w: Window.objects.filter(pk=w.allowing.pk).delete(),
    "the end of a freeze": lambda w: Freeze.objects.update(reason="an incident"),
    "a grant": lambda w: None,
    "the end of a denial": lambda w: Grant.objects.filter(pk=w.denial.pk).update(verbs=["approve", "trigger"]),
    "a new account in a group": lambda w: Group.objects.filter(pk=w.operators.pk).update(name="Crew"),
    "a new administrator": lambda w: w.someone.groups.clear(),
    "another address": lambda w: User.objects.filter(pk=w.someone.pk).update(email="third@example.com"),
    "another password": lambda w: with_password(w.someone, "chosen-by-its-owner").save(),
}


@pytest.fixture
def cosigner(second_administrator: User) -> User:
    return second_administrator


def waiting(world: World, name: str, who: User | None = None) -> ChangeRequest:
    change = ACTS[name][0](world, by(who or world.admin))
    assert isinstance(change, ChangeRequest)
    return ChangeRequest.objects.get(pk=change.pk)


def last_entry(verb: str) -> AuditEntry:
    return AuditEntry.objects.filter(verb=verb, outcome="done").latest("sequence")


@pytest.mark.parametrize("name", ACTS)
def test_nothing_happens_until_a_second_administrator_approves(name: str, world: World, cosigner: User) -> None:
    _, look, afterwards = ACTS[name]
    before = look(world)
    change = waiting(world, name)
    # 1. It waits, and nothing is changed.
    assert look(world) == before != afterwards
    assert (change.state, change.kind, change.environment_name) == (State.WAITING, "rules", "prod")
    entry = last_entry("request.submit")
    assert (entry.subject_kind, entry.subject_id, entry.actor_name) == (
        "changerequest",
        str(change.pk),
        "administrator",
    )
    assert entry.after["digest"] == change.digest
    assert not AuditEntry.objects.filter(
        verb=change.rule_change.act, actor_name="administrator", outcome="done"
    ).exists()
    # 2. Not by its requester, however often they try.
    with refused("approval.own"):
        changes.approve(change, by=by(world.admin))
    # 3. Approved, it is in effect: as its requester, with the name of the approver.
    changes.approve(change, by=by(cosigner), displayed_digest=change.digest)
    assert look(world) == afterwards
    change.refresh_from_db()
    assert change.state == State.CLOSED
    applied = last_entry(change.rule_change.act)
    assert (applied.actor_name, applied.reason) == ("administrator", CONFIRMED["reason"])
    assert (applied.after["change_request"], applied.after["approved_by"]) == (change.pk, ["cosigner"])
    # 4. The secrets that were kept for it are gone, and the trail fits the rows.
    assert bytes(RuleChange.objects.get(change=change).sealed_columns) == b""
    assert not audit.reconcile()
    assert not audit.verify().broken
    # 5. Nobody can have it twice.
    with refused("state.illegal"):
        changes.approve(change, by=by(person("third", is_superuser=True)))


@pytest.mark.parametrize("name", [name for name, move in MOVES.items() if name not in ("one more window", "a grant")])
def test_it_is_refused_if_the_row_moved_since(name: str, world: World, cosigner: User) -> None:
    change = waiting(world, name)
    MOVES[name](world)
    before = ACTS[name][1](world)
    with refused("rules.moved"):
        changes.approve(change, by=by(cosigner))
    assert ACTS[name][1](world) == before
    change.refresh_from_db()
    assert change.state == State.WAITING
    assert not change.approvals.exists()
    changes.reject(change, by=by(cosigner), reason="It moved.")


def test_every_act_of_the_table_is_tried() -> None:
    assert MOVES.keys() == ACTS.keys()


def test_nor_if_it_would_open_more_than_was_approved(world: World, cosigner: User) -> None:
    """The row is the same, but the group has got another grant since."""
    newcomer = person("newcomer")
    change = accounts.save_person(newcomer, groups=[world.operators], by=by(world.admin), **CONFIRMED)
    assert change
    staging = Environment.objects.create(slug="staging", server=world.prod.server, is_active=False, is_protected=True)
    grants.grant(by=Actor.system(), group=world.operators, verbs=["trigger"], environment=staging)
    with refused("rules.moved"):
        changes.approve(change, by=by(cosigner))


def test_nor_if_its_requester_is_no_administrator_any_more(world: World, cosigner: User) -> None:
    change = waiting(world, "a weaker policy")
    User.objects.filter(pk=world.admin.pk).update(is_superuser=False)
    with refused("access.administrators_only"):
        changes.approve(change, by=by(cosigner))
    assert Policy.objects.get(pk=world.policy.pk).needs_confirmation


def test_what_somebody_hands_on_is_asked_again_too(world: World, cosigner: User) -> None:
    manager = person("manager")
    own = grants.grant(by=Actor.system(), person=manager, verbs=["manage", "trigger"], environment=world.prod)
    change = grants.grant(by=by(manager), person=world.someone, verbs=["trigger"], environment=world.prod, **CONFIRMED)
    assert isinstance(change, ChangeRequest)
    assert isinstance(own, Grant)
    grants.revoke(own, by=Actor.system())
    with refused("grant.beyond_own"):
        changes.approve(change, by=by(cosigner))
    assert not Grant.objects.filter(person=world.someone, effect="allow").exists()


# Who may sign


def test_only_administrators_sign(world: World, approver: User, auditor: User) -> None:
    change = waiting(world, "a switch of an environment")
    for user in (approver, auditor, world.someone):
        with refused("rules.administrators_only"):
            changes.approve(change, by=by(user))
        with refused("rules.administrators_only"):
            changes.reject(change, by=by(user), reason="no")
    assert not Approval.objects.exists()


def test_nor_an_administrator_within_a_scope(world: World, cosigner: User) -> None:
    change = waiting(world, "a switch of an environment")
    token = by(cosigner)
    scoped = Actor(token.kind, token.id, token.name, token.channel, token.holder, scope=())
    with refused("rules.administrators_only"):
        changes.approve(change, by=scoped)
    assert not rule_changes.waiting_for(scoped)


def test_the_beneficiary_does_not_sign_and_may_reject(world: World, cosigner: User) -> None:
    gifts = {
        "themselves": {"person": cosigner},
        "their group": {"group": world.operators},
    }
    cosigner.groups.add(world.operators)
    person("third", is_superuser=True)
    for what, subject in gifts.items():
        change = grants.grant(by=by(world.admin), **subject, verbs=["approve"], environment=world.prod, **CONFIRMED)
        assert isinstance(change, ChangeRequest), what
        assert change.pk not in [each.pk for each in rule_changes.waiting_for(by(cosigner))]
        with refused("rules.beneficiary"):
            changes.approve(change, by=by(cosigner))
        changes.reject(change, by=by(cosigner), reason="Not me.")
        assert ChangeRequest.objects.get(pk=change.pk).state == State.REJECTED


def test_it_is_refused_where_nobody_could_sign(world: World, cosigner: User) -> None:
    with refused("rules.no_signer"):
        grants.grant(by=by(world.admin), person=cosigner, verbs=["approve"], environment=world.prod, **CONFIRMED)
    User.objects.filter(pk=cosigner.pk).update(is_active=False)
    with refused("rules.no_signer"):
        waiting(world, "a switch of an environment")
    assert not ChangeRequest.objects.exists()


def test_an_administrator_whom_the_requester_made_does_not_sign(world: World, cosigner: User) -> None:
    friend = accounts.save_person(new_person("friend"), groups=[], by=by(world.admin))
    assert friend is None
    ghost = User.objects.get(username="friend")
    change = accounts.save_person(loaded(ghost, is_superuser=True), groups=[], by=by(world.admin), **CONFIRMED)
    assert change
    changes.approve(change, by=by(cosigner))
    asked = waiting(world, "a switch of an environment")
    with refused("approval.not_independent"):
        changes.approve(asked, by=by(User.objects.get(pk=ghost.pk)))


def test_the_rule_does_not_bind_in_single_administrator_mode(world: World, settings: Any) -> None:
    settings.SINGLE_ADMINISTRATOR = True
    for act, look, afterwards in ACTS.values():
        assert not isinstance(act(world, by(world.admin)), ChangeRequest)
        assert look(world) == afterwards


def test_tightening_counts_at_once(world: World) -> None:
    tighter = loaded(world.policy, needs_reason=True, refuse_moving=True)
    assert policies.save_policy(tighter, by=by(world.admin)) is None
    assert configuration.save_environment(loaded(world.prod, approval_minutes=5), by=by(world.admin)) is None
    assert Policy.objects.get(pk=world.policy.pk).needs_reason
    assert not ChangeRequest.objects.exists()


def test_the_installation_needs_no_signature(world: World) -> None:
    assert configuration.save_environment(loaded(world.prod, needs_approval=False), by=Actor.system()) is None


# What becomes of one


def test_a_double_click_is_one_change_request(world: World, cosigner: User) -> None:
    first, again = waiting(world, "a weaker policy"), waiting(world, "a weaker policy")
    assert first.pk == again.pk
    assert AuditEntry.objects.filter(verb="request.submit").count() == 1
    changes.reject(first, by=by(cosigner), reason="no")
    assert waiting(world, "a weaker policy").pk != first.pk


@pytest.mark.parametrize("name", ["another server with its credential", "another password"])
def test_whatever_ends_it_deletes_its_secrets(name: str, world: World, cosigner: User) -> None:
    ends = {
        State.REJECTED: lambda change: changes.reject(change, by=by(cosigner), reason="no"),
        State.WITHDRAWN: lambda change: changes.withdraw(change, by=by(world.admin)),
        State.EXPIRED: expired,
    }
    for state, end in ends.items():
        change = waiting(world, name)
        sealed = encryption.unseal(RuleChange.objects.get(change=change).sealed_columns)
        assert "a:b" in sealed or "pbkdf2" in sealed or "md5" in sealed
        end(change)
        rules = RuleChange.objects.get(change=change)
        assert (ChangeRequest.objects.get(pk=change.pk).state, bytes(rules.sealed_columns)) == (state, b"")
    assert not audit.reconcile()


def expired(change: ChangeRequest) -> None:
    ChangeRequest.objects.filter(pk=change.pk).update(expires_at=timezone.now() - timedelta(minutes=1))
    tasks.expire()


def test_only_its_requester_withdraws_it(world: World, cosigner: User) -> None:
    change = waiting(world, "a weaker policy")
    for user in (cosigner, world.someone):
        with refused("rules.not_own"):
            changes.withdraw(change, by=by(user))
    changes.withdraw(change, by=by(world.admin))


def test_strangers_neither_see_nor_discuss_it(world: World, auditor: User, cosigner: User) -> None:
    change = waiting(world, "a weaker policy")
    for user in (auditor, cosigner, world.admin):
        changes.comment(change, "Looks right.", by=by(user))
    with refused("request.unknown"):
        changes.comment(change, "Hello", by=by(world.someone))
    with refused("override.rules"):
        changes.break_glass(change, by=by(cosigner), reason="urgent")


def test_no_secret_is_readable_in_the_database_or_the_trail(world: World, cosigner: User) -> None:
    for name in ("another server with its credential", "another password", "a new account in a group"):
        change = waiting(world, name)
        rules = change.rule_change
        text = f"{rules.before} {rules.after} {[(e.before, e.after, e.message) for e in AuditEntry.objects.all()]}"
        for secret in ("a:b", *(user.password for user in User.objects.exclude(password="")), "pbkdf2", "md5$"):
            assert secret not in text, name


def test_all_in_charge_are_told_that_it_waits_and_when_it_counts(world: World, cosigner: User, auditor: User) -> None:
    change = waiting(world, "a weaker policy")
    told = notices().filter(topic=Topic.RULES, target_kind="changerequest", target_id=str(change.pk))
    assert sorted(told.values_list("person__username", flat=True)) == ["administrator", "auditor", "cosigner"]
    changes.approve(change, by=by(cosigner))
    event = RunEvent.objects.get(kind=RunEvent.Kind.RULES_LOOSENED)
    assert event.data["approved_by"] == ["cosigner"]
    assert notices().filter(topic=Topic.RULES, text__contains="Approved by cosigner").count() == 3


# Past the portal


def refused_by_the_database(write: Callable[[], object]) -> None:
    with pytest.raises(DatabaseError), transaction.atomic():
        write()


def test_the_database_holds_it_too(world: World, cosigner: User) -> None:
    change = waiting(world, "a weaker policy")
    rows, rules = ChangeRequest.objects.filter(pk=change.pk), RuleChange.objects.filter(change=change)
    refused_by_the_database(lambda: rows.update(state=State.CLOSED))
    refused_by_the_database(lambda: rows.update(state=State.APPROVED))
    refused_by_the_database(lambda: rules.update(after={"needs_confirmation": True}))
    refused_by_the_database(lambda: rules.update(loosened=[]))
    refused_by_the_database(lambda: rules.delete())
    # An emergency override in the database does not help: rules are never overridden.
    BreakGlass.objects.create(
        change=change, by=cosigner, by_name="x", until=timezone.now() + timedelta(hours=1), reason="x"
    )
    refused_by_the_database(lambda: rows.update(state=State.APPROVED))


def test_a_change_request_written_in_the_database_is_not_applied(world: World, cosigner: User) -> None:
    genuine = waiting(world, "a weaker policy")
    forged = ChangeRequest.objects.get(pk=genuine.pk)
    forged.pk, forged.submission_key = None, genuine.submission_key.__class__(int=7)
    changes.withdraw(genuine, by=by(world.admin))
    forged.save(force_insert=True)
    rules = RuleChange.objects.get(change=genuine)
    rules.pk, rules.change = None, forged
    rules.save(force_insert=True)
    with refused("request.changed"):
        changes.approve(forged, by=by(cosigner))
    assert Policy.objects.get(pk=world.policy.pk).needs_confirmation


def test_nor_one_whose_secret_was_exchanged(world: World, cosigner: User) -> None:
    change = waiting(world, "another password")
    RuleChange.objects.filter(change=change).update(
        sealed_columns=encryption.seal('{"after": {"password": "another"}, "before": {"password": ""}}')
    )
    with refused("approval.stale"):
        changes.approve(change, by=by(cosigner))


def test_rotating_the_keys_renews_what_waits(world: World, cosigner: User, settings: Any) -> None:
    change = waiting(world, "another password")
    settings.FIELD_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_KEYS]
    key_rotation.rotate(by=Actor.system())
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    changes.approve(change, by=by(cosigner))
    assert User.objects.get(pk=world.someone.pk).check_password("chosen-by-another")
