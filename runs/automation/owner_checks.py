"""Note which hooks, event rules and chains have an owner, or an account, without permission to run what they run.

Each request is decided when it is made; this says it before, on pages and the overview. Called every five minutes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from django.contrib.auth.models import User

from runs.access.decisions import Permissions, permissions_of_each
from runs.automation import chains, event_rules, hooks
from runs.models import ChainStep, EventRule, Hook, Verb

# Of a deployment, and large: nothing here reads it.
UNREAD = [f"deployment__{name}" for name in ("parameter_schema", "parameter_defaults", "definition")]


def check() -> None:
    """Note of each one that is enabled whether it lacks permission; the grants of all are read in one query."""
    found_hooks = list(hooks.rows().filter(is_enabled=True).defer(*UNREAD))
    found_rules = list(event_rules.rows().filter(is_enabled=True, deleted_at=None).defer(*UNREAD))
    steps = list(chains.steps_of_enabled().defer(*UNREAD))
    accounts = [hook.account.user for hook in found_hooks]
    owners = [*(rule.owner for rule in found_rules), *(step.version.chain.owner for step in steps)]
    permissions = by_person([*accounts, *owners])
    hooks.note_permissions({hook.pk for hook in found_hooks if not can_run(hook, permissions)})
    event_rules.note_permissions({rule.pk for rule in found_rules if not can_fire(rule, permissions)})
    chains.note_permissions({step.version.chain_id for step in steps if not can_start(step, permissions)})


def by_person(people: Iterable[User]) -> dict[int, Permissions]:
    return {each.user.pk or 0: each for each in permissions_of_each({person.pk: person for person in people}.values())}


def can_run(hook: Hook, permissions: dict[int, Permissions]) -> bool:
    return permissions[hook.account.user_id].decide(Verb.TRIGGER, hook.deployment).allowed


def can_start(step: ChainStep, permissions: dict[int, Permissions]) -> bool:
    return permissions[step.version.chain.owner_id].decide(Verb.TRIGGER, step.deployment).allowed


def can_fire(rule: EventRule, permissions: dict[int, Permissions]) -> bool:
    """Return whether the owner can run the deployment with some values, also within the scopes of the rule's token."""
    scope = event_rules.actor_of(rule, rule.deployment).scope
    return replace(permissions[rule.owner_id], scope=scope).decide(Verb.TRIGGER, rule.deployment).allowed
