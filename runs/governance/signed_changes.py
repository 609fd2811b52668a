"""Apply a change of rules that has its second signature: the service that refused to go on alone is called again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib.auth.models import Group, User
from django.db import models

from flows.models import (
    Deployment,
    Environment,
    GlobalLimit,
    Server,
    UnassignedDeployment,
    WorkPool,
    WorkQueue,
)
from runs.actors import Actor, Channel
from runs.governance import (
    accounts,
    configuration,
    deployment_moves,
    freezes,
    grants,
    limit_lifecycle,
    limits,
    policies,
    resource_profiles,
    service_accounts,
)
from runs.governance.rule_changes import moved, secrets_of
from runs.models import ChangeRequest, Freeze, Grant, Policy, RuleChange, ServiceAccount, Window

# What a service takes beside its row.
type Consent = dict[str, Any]


def apply(change: ChangeRequest) -> None:
    """Do what a change request for rules says, as its requester, and delete the secrets that were kept for it.

    The caller is in the transaction of the last approval. Raises `Refused`, among others with code `rules.moved`.
    """
    # Their permission is asked again: they may have lost it since.
    by = Actor.person(requester_of(change), channel=Channel(change.channel))
    APPLY[change.rule_change.act](change.rule_change, {"by": by, "reason": change.reason, "signed": change})
    forget_secrets(change)


def forget_secrets(change: ChangeRequest) -> None:
    """Delete the secret columns of a change of rules that was decided."""
    RuleChange.objects.filter(change=change).update(sealed_columns=b"")


def requester_of(change: ChangeRequest) -> User:
    """Return who requested it; everyone but the system does so as an account."""
    if change.requested_by is None:
        raise ValueError(f"Change request {change.pk} has no requester: the system needs no second signature.")
    return change.requested_by


def stored[Row: models.Model](model: type[Row], rules: RuleChange) -> Row:
    """Return the row, or a new one; raises `Refused` if it was deleted since."""
    if not rules.subject_id:
        return model()
    row = model._default_manager.filter(pk=rules.subject_id).first()
    if row is None:
        raise moved(rules)
    return row


def with_columns[Row: models.Model](row: Row, rules: RuleChange, *besides: str) -> Row:
    """Return the row with the columns that were requested, but for some."""
    for name, value in rules.after.items():
        if name not in besides:
            setattr(row, name, value)
    return row


def save_environment(rules: RuleChange, consent: Consent) -> None:
    environment = stored(Environment, rules)
    server = environment.server if rules.subject_id else Server()
    with_columns(environment, rules, *configuration.SERVER)
    for name in configuration.SERVER:
        setattr(server, name, rules.after[name])
    credential = secrets_of(rules).get("after", {}).get("credential", "")
    # Not sealed again if it is the stored one: the address may only change together with another credential.
    if credential != configuration.credential_of(server):
        server.credential = credential
    environment.server = server
    configuration.save_environment(environment, **consent)


def save_policy(rules: RuleChange, consent: Consent) -> None:
    policies.save_policy(with_columns(stored(Policy, rules), rules), **consent)


def delete_policy(rules: RuleChange, consent: Consent) -> None:
    policies.delete_policy(stored(Policy, rules), **consent)


def save_window(rules: RuleChange, consent: Consent) -> None:
    policies.save_window(with_columns(stored(Window, rules), rules), **consent)


def delete_window(rules: RuleChange, consent: Consent) -> None:
    policies.delete_window(stored(Window, rules), **consent)


def end_freeze(rules: RuleChange, consent: Consent) -> None:
    freezes.unfreeze(stored(Freeze, rules).environment, **consent, ticket=rules.change.ticket)


def give_grant(rules: RuleChange, consent: Consent) -> None:
    columns = {name: value for name, value in rules.after.items() if name != "effective_predicate"}
    owners: dict[str, Any] = {
        "person": User.objects.filter(pk=columns.pop("person_id")).first(),
        "group": Group.objects.filter(pk=columns.pop("group_id")).first(),
        "environment": Environment.objects.filter(pk=columns.pop("environment_id")).first(),
    }
    for name in ("valid_from", "valid_until"):
        columns[name] = datetime.fromisoformat(columns[name]) if columns[name] else None
    grants.grant(**consent | columns | owners)


def revoke_grant(rules: RuleChange, consent: Consent) -> None:
    grants.revoke(stored(Grant, rules), **consent, ticket=rules.change.ticket)


def save_person(rules: RuleChange, consent: Consent) -> None:
    person = with_columns(stored(User, rules), rules, "groups")
    person.password = secrets_of(rules)["after"]["password"]
    groups = list(Group.objects.filter(name__in=rules.after["groups"]))
    accounts.save_person(person, groups=groups, **consent)


def set_password(rules: RuleChange, consent: Consent) -> None:
    person = stored(User, rules)
    person.password = secrets_of(rules)["after"]["password"]
    accounts.set_password(person, **consent)


def change_service_account(rules: RuleChange, consent: Consent) -> None:
    account, after = stored(ServiceAccount, rules), rules.after
    owner = User.objects.filter(username=after["owner"]).first()
    if owner is None:
        raise moved(rules)
    service_accounts.change(account, owner=owner, purpose=after["purpose"], is_active=after["is_active"], **consent)


def create_profile(rules: RuleChange, consent: Consent) -> None:
    columns = dict(rules.after)
    environment = Environment.objects.filter(pk=columns.pop("environment_id")).first()
    if environment is None:
        raise moved(rules)
    resource_profiles.create(environment, **columns, **consent)


def assign_deployment(rules: RuleChange, consent: Consent) -> None:
    deployment_moves.assign(stored(UnassignedDeployment, rules), **consent)


def set_limits(model: type[Deployment | WorkPool | WorkQueue | GlobalLimit]) -> Callable[[RuleChange, Consent], None]:
    def apply(rules: RuleChange, consent: Consent) -> None:
        limits.set_limits(stored(model, rules), rules.after, **consent, ticket=rules.change.ticket)

    return apply


def delete_limit(rules: RuleChange, consent: Consent) -> None:
    limit_lifecycle.delete(stored(GlobalLimit, rules), **consent, ticket=rules.change.ticket)


def resume(model: type[WorkPool | WorkQueue]) -> Callable[[RuleChange, Consent], None]:
    def apply(rules: RuleChange, consent: Consent) -> None:
        limits.resume(stored(model, rules), **consent, ticket=rules.change.ticket)

    return apply


# The verb of the audit entry -> the service that is called again.
APPLY: dict[str, Callable[[RuleChange, Consent], None]] = {
    "environment.create": save_environment,
    "environment.change": save_environment,
    "environment.unfreeze": end_freeze,
    "policy.change": save_policy,
    "policy.delete": delete_policy,
    "window.create": save_window,
    "window.change": save_window,
    "window.delete": delete_window,
    "grant.give": give_grant,
    "grant.revoke": revoke_grant,
    "person.create": save_person,
    "person.change": save_person,
    "person.password": set_password,
    "service_account.change": change_service_account,
    "resource_profile.create": create_profile,
    "deployment.assign": assign_deployment,
    "deployment.limit": set_limits(Deployment),
    "pool.limit": set_limits(WorkPool),
    "queue.limit": set_limits(WorkQueue),
    "global_limit.limit": set_limits(GlobalLimit),
    "global_limit.delete": delete_limit,
    "pool.resume": resume(WorkPool),
    "queue.resume": resume(WorkQueue),
}
