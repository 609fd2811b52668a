"""Hooks as they are created, changed and protected, and how long their deliveries are kept."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils import timezone

from flows.models import Deployment, Environment
from runs import changes, key_rotation, sweeps
from runs.access.decisions import Forbidden
from runs.actors import Actor, Kind
from runs.automation import hook_deliveries, hook_digest, hook_mapping, hooks, value_mapping
from runs.governance import outside_changes, service_accounts, tokens
from runs.models import (
    AuditEntry,
    ChangeRequest,
    Hook,
    HookDelivery,
    HookRefusal,
    HookSecret,
    RowVersion,
    RunRequest,
    ServiceAccount,
    TokenScope,
)
from tests.cast import by
from tests.made_hooks import MAPPING, Sender, new_hook, robot_for
from tests.portal.made_tokens import robot_of
from tests.refusals import refused

pytestmark = pytest.mark.django_db


@pytest.fixture
def robot(requester: User, deployment: Deployment) -> ServiceAccount:
    return robot_for(requester, deployment)


@pytest.fixture
def sender(requester: User, deployment: Deployment, robot: ServiceAccount) -> Sender:
    return new_hook(requester, deployment, robot)


def settings_of(hook: Hook, **changed: Any) -> dict[str, Any]:
    columns = {name: getattr(hook, name) for name in ("name", "mapping", "predicate", "max_bytes")}
    return columns | changed


# Who may do what ------------------------------------------------------------------------------------------------------


def test_only_the_owner_creates_and_changes_it(sender: Sender, admin_user: User, deployment: Deployment) -> None:
    hook = sender.hook
    with refused("hook.not_own"):
        new_hook(admin_user, deployment, hook.account)
    with refused("hook.not_own"):
        hooks.change(hook, by=by(admin_user), **settings_of(hook))
    for act in (hooks.add_secret, hooks.replace_secrets):
        with refused("hook.not_own"):
            act(hook, by=by(admin_user))
    entry = AuditEntry.objects.filter(verb="hook.create", outcome="refused").get()
    assert entry.actor_name == "administrator"


def test_an_administrator_only_takes_away(sender: Sender, admin_user: User, stranger: User) -> None:
    with refused("hook.not_own"):
        hooks.set_enabled(sender.hook, False, by=by(stranger))
    hooks.set_enabled(sender.hook, False, by=by(admin_user))
    assert not Hook.objects.get().is_enabled
    with refused("hook.not_own"):
        hooks.set_enabled(sender.hook, True, by=by(admin_user))
    hooks.remove_secret(sender.hook, HookSecret.objects.get(), by=by(admin_user))
    assert not HookSecret.objects.exists()
    verbs = AuditEntry.objects.filter(outcome="done", verb__startswith="hook.").order_by("sequence")
    assert list(verbs.values_list("verb", flat=True)) == ["hook.create", "hook.disable", "hook.remove_secret"]


def test_no_program_manages_hooks(sender: Sender, requester: User, deployment: Deployment) -> None:
    end = timezone.now() + timedelta(days=1)
    text = tokens.issue(requester, by=by(requester), name="x", scopes=[TokenScope(verbs=["see"])], expires_at=end).text
    program = tokens.authenticate(text, address="192.0.2.7")
    incoming = hook_deliveries.Incoming(sender.hook.key, {}, b"")
    for actor in (program, hook_deliveries.actor_of(sender.hook, incoming)):
        with refused("hook.interactive"):
            hooks.add_secret(sender.hook, by=actor)
        with refused("hook.interactive"):
            hooks.create(
                sender.hook.account, by=actor, name="x", kind="standard", deployment=deployment, mapping=MAPPING
            )


def test_its_account_must_be_allowed_to_run_the_deployment(requester: User, deployment: Deployment) -> None:
    with pytest.raises(Forbidden):
        new_hook(requester, deployment, robot_of(requester, "powerless"))
    assert not Hook.objects.exists()


def test_its_actor_can_run_its_deployment_and_nothing_else(sender: Sender) -> None:
    actor = hook_deliveries.actor_of(sender.hook, hook_deliveries.Incoming(sender.hook.key, {}, b""))
    assert actor.kind == Kind.WEBHOOK
    assert not actor.is_administrator
    assert [(grant.verbs, grant.full_name) for grant in actor.scope or ()] == [(["trigger"], "monthly/monthly")]


def test_who_sees_it(sender: Sender, requester: User, admin_user: User, auditor: User, stranger: User) -> None:
    seen = {user.username for user in (requester, admin_user, auditor, stranger) if hooks.visible_to(by(user)).exists()}
    assert seen == {"requester", "administrator", "auditor"}


def test_whoever_changed_it_lately_is_not_independent_of_its_requests(
    prod_deployment: Deployment, requester: User, approver: User, settings: Any
) -> None:
    settings.SINGLE_ADMINISTRATOR = True
    sender = new_hook(approver, prod_deployment)
    service_accounts.change(
        sender.hook.account,
        owner=requester,
        purpose="x",
        is_active=True,
        by=by(User.objects.get(username="maker")),
        reason="r",
        confirm="prod",
    )
    hook = hooks.rows().get()
    Sender(hook, hooks.replace_secrets(hook, by=by(requester)).text).send()
    change = ChangeRequest.objects.get(kind="run")
    with refused("approval.not_independent"):
        changes.approve(change, by=by(approver))


# What it needs --------------------------------------------------------------------------------------------------------

GOOD = {"month": {"pointer": "/data/month"}}


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"name": "  "}, "hook.name_required"),
        ({"kind": "fax"}, "hook.kind"),
        ({"max_bytes": 10}, "hook.size"),
        ({"max_bytes": 2 * 1024 * 1024}, "hook.size"),
        ({"predicate": {"type": "object"}}, "hook.condition"),
        ({"predicate": {"properties": {"x": {"const": "\x00"}}}}, "hook.condition"),
        ({"mapping": [GOOD]}, "hook.mapping"),
        ({"mapping": {"other": {"value": 1}}}, "hook.mapping"),
        ({"mapping": {"month": "/data/month"}}, "hook.mapping"),
        ({"mapping": {"month": {"pointer": "data"}}}, "hook.mapping"),
        ({"mapping": {"month": {"pointer": "/a~2"}}}, "hook.mapping"),
        ({"mapping": {"month": {"value": 1, "pointer": "/a"}}}, "hook.mapping"),
        ({"mapping": {"month": {"value": "\x00"}}}, "hook.mapping"),
        ({"mapping": {"rows": {"value": float("nan")}}}, "hook.mapping"),
        ({"mapping": {"month": {"pointer": "/" + "x" * 600}}}, "hook.mapping"),
        ({"mapping": {"token": {"value": "hunter2"}}}, "hook.mapping"),
        ({"mapping": {"token": {"pointer": "/token", "default": "hunter2"}}}, "hook.mapping"),
    ],
)
def test_what_is_refused(
    requester: User, deployment: Deployment, robot: ServiceAccount, changed: dict[str, Any], code: str
) -> None:
    with refused(code):
        new_hook(requester, deployment, robot, **{"mapping": GOOD, **changed})
    assert not Hook.objects.exists()
    assert "hunter2" not in repr([*AuditEntry.objects.values()])


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("", {"a": [1, {"b/c": 2, "d~e": 3, "": 4}]}),
        ("/a/0", 1),
        ("/a/1/b~1c", 2),
        ("/a/1/d~0e", 3),
        ("/a/1/", 4),
        ("/a/2", value_mapping.MISSING),
        ("/a/-", value_mapping.MISSING),
        ("/a/01", value_mapping.MISSING),
        ("/a/0/x", value_mapping.MISSING),
        ("/x", value_mapping.MISSING),
    ],
)
def test_pointers_find_what_the_standard_says(pointer: str, value: object) -> None:
    document = {"a": [1, {"b/c": 2, "d~e": 3, "": 4}]}
    assert value_mapping.resolve(document, pointer) == value


@pytest.mark.parametrize(
    ("payload", "fits"),
    [
        ({"repository": {"name": "shop"}, "ref": "main"}, True),
        ({"repository": {"name": "other"}, "ref": "main"}, False),
        ({"repository": {}, "ref": "main"}, False),
        ({"repository": "shop", "ref": "main"}, False),
        ({"ref": "main"}, False),
    ],
)
def test_what_a_condition_names_has_to_exist_at_every_depth(payload: dict[str, Any], fits: bool) -> None:
    condition = {"properties": {"repository": {"properties": {"name": {"const": "shop"}}}}}
    assert hook_mapping.satisfies(payload, condition) is fits


# Secrets --------------------------------------------------------------------------------------------------------------


def test_a_secret_is_stored_encrypted_and_printed_nowhere(sender: Sender, requester: User) -> None:
    new = hooks.add_secret(sender.hook, by=by(requester))
    tables = (Hook, HookSecret, AuditEntry, RowVersion)
    stored = repr([bytes(row.sealed_text) for row in HookSecret.objects.all()])
    stored += repr([*(row for table in tables for row in table.objects.values())])
    assert new.text not in stored
    assert new.text not in repr(new)


def test_it_has_at_most_three(sender: Sender, requester: User) -> None:
    for _ in range(2):
        hooks.add_secret(sender.hook, by=by(requester))
    with refused("hook.secrets"):
        hooks.add_secret(sender.hook, by=by(requester))
    secret = HookSecret.objects.earliest("pk")
    hooks.remove_secret(sender.hook, secret, by=by(requester))
    with refused("hook.secret_unknown"):
        hooks.remove_secret(sender.hook, secret, by=by(requester))


def test_a_secret_of_another_hook_is_not_removed(
    sender: Sender, requester: User, deployment: Deployment, robot: ServiceAccount
) -> None:
    other = new_hook(requester, deployment, robot, name="other")
    with refused("hook.secret_unknown"):
        hooks.remove_secret(sender.hook, other.hook.secrets.get(), by=by(requester))


def test_the_rotation_of_keys_covers_them(sender: Sender, settings: Any) -> None:
    settings.FIELD_KEYS = [Fernet.generate_key().decode(), *settings.FIELD_KEYS]
    assert key_rotation.rotate(by=Actor.system())["hook secrets"] == 1
    settings.FIELD_KEYS = settings.FIELD_KEYS[:1]
    assert sender.send().status == 202


def test_without_their_key_it_accepts_nothing(sender: Sender, settings: Any) -> None:
    settings.FIELD_KEYS = [Fernet.generate_key().decode()]
    assert sender.send().status == 401


def test_it_moves_to_the_newest_pepper_when_it_is_used(sender: Sender, settings: Any) -> None:
    settings.TOKEN_PEPPERS = {**settings.TOKEN_PEPPERS, 9: "n" * 40}
    assert sender.send().status == 202
    assert Hook.objects.get().pepper == 9
    settings.TOKEN_PEPPERS = {9: "n" * 40}
    assert sender.send(name="msg_2").status == 202
    settings.TOKEN_PEPPERS = {10: "o" * 40}
    assert sender.send(name="msg_3").status == 401


def test_the_last_use_of_a_secret_is_noted(sender: Sender) -> None:
    sender.send(webhook_signature="v1,AAAA")
    assert HookSecret.objects.get().last_used_at is None
    sender.send()
    assert HookSecret.objects.get().last_used_at


# Changed past the portal ----------------------------------------------------------------------------------------------


def test_what_was_changed_in_the_database_is_not_made_valid_by_another_change(
    sender: Sender, requester: User, admin_user: User
) -> None:
    Hook.objects.update(mapping={"month": {"value": "2026-01"}})
    hook = hooks.rows().get()
    for act in (
        lambda: hooks.change(hook, by=by(requester), **settings_of(hook, name="x")),
        lambda: hooks.add_secret(hook, by=by(requester)),
        lambda: hooks.set_enabled(hook, False, by=by(admin_user)),
    ):
        with refused("hook.altered"):
            act()
    new = hooks.replace_secrets(hook, by=by(requester))
    assert hook_digest.is_intact(hooks.rows().get(), [new.text])


def test_a_change_of_a_hook_in_a_protected_environment_raises_an_alarm(
    requester: User, prod_deployment: Deployment
) -> None:
    new_hook(requester, prod_deployment)
    version = RowVersion.objects.filter(table_name="runs_hook").latest("pk")
    assert outside_changes.reached_by(version, frozenset(["prod"])) == {"prod"}
    assert outside_changes.reached_by(version, frozenset(["other"])) == set()
    assert "hook orders" in outside_changes.describe(version)


def test_the_database_holds_one_delivery_of_a_message(sender: Sender) -> None:
    sender.send()
    row = HookDelivery.objects.get()
    row.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        row.save(force_insert=True)


# Redeployed, and kept -------------------------------------------------------------------------------------------------


def test_a_deployment_that_was_deployed_again_is_the_same_to_it(sender: Sender, fake: Any, dev: Environment) -> None:
    old = Deployment.objects.get()
    Deployment.objects.filter(pk=old.pk).update(deleted_upstream_at=timezone.now())
    old.pk, old.prefect_id = None, fake.add_deployment(flow_name="monthly", name="monthly").id
    old.save()
    assert sender.send().status == 202
    assert RunRequest.objects.get().deployment == old


def test_old_deliveries_are_forgotten_but_not_while_a_message_can_come_again(sender: Sender, dev: Environment) -> None:
    sender.send()
    sender.send(webhook_signature="v1,AAAA")
    now = timezone.now()
    assert not hook_deliveries.forget(dev, now)
    HookDelivery.objects.update(received_at=now - timedelta(days=3))
    HookRefusal.objects.update(day=(now - timedelta(days=3)).date())
    sweeps.sweep(dev)
    assert HookDelivery.objects.exists()
    dev.keep_events_days = 2
    sweeps.sweep(dev)
    assert not HookDelivery.objects.exists()
    assert not HookRefusal.objects.exists()
    # Its id still requests nothing new.
    assert sender.send().body["request"] == RunRequest.objects.get().pk


def test_the_sweep_of_one_environment_leaves_the_others(
    sender: Sender, requester: User, prod_deployment: Deployment, robot: ServiceAccount
) -> None:
    sender.send()
    HookDelivery.objects.update(received_at=timezone.now() - timedelta(days=3))
    assert not hook_deliveries.forget(prod_deployment.environment, timezone.now())
    assert HookDelivery.objects.exists()


def test_an_entry_is_written_once_a_minute_with_the_number_of_messages(sender: Sender, later: Any) -> None:
    for _ in range(3):
        sender.send(webhook_signature="v1,AAAA")
    later(timedelta(seconds=61))
    sender.send(webhook_signature="v1,AAAA", webhook_timestamp="1")
    entries = AuditEntry.objects.filter(verb="hook.refuse").order_by("sequence")
    assert [entry.after["messages"] for entry in entries] == [1, 3]
