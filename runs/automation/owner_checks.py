"""Note which hooks, event rules and chains have an owner, or an account, without permission to run what they run.

Each request is decided when it is made; this says it before, on pages, on the overview and to their owners. Called
every five minutes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from flows.models import Environment
from runs import events
from runs.access.decisions import Decision, Permissions, permissions_of_each
from runs.automation import chains, event_rules, hooks
from runs.models import Chain, ChainStep, EventRule, Hook, RunEvent, ServiceAccount, Verb

# Of a deployment, and large: nothing here reads it.
UNREAD = [f"deployment__{name}" for name in ("parameter_schema", "parameter_defaults", "definition")]
# Of hooks, event rules or chains.
type Refusals = dict[Any, Decision]


@transaction.atomic
def check() -> None:
    """Note of each one that is enabled whether it lacks permission; the grants of all are read in one query."""
    found_hooks = list(hooks.rows().filter(is_enabled=True).defer(*UNREAD))
    found_rules = list(event_rules.rows().filter(is_enabled=True, deleted_at=None).defer(*UNREAD))
    steps = list(chains.steps_of_enabled().defer(*UNREAD))
    savers = savers_of({step.version.chain.owner for step in steps})
    accounts = [hook.account.user for hook in found_hooks]
    owners = [rule.owner for rule in found_rules]
    permissions = by_person([*accounts, *owners, *(each for group in savers.values() for each in group)])
    refusals = refused({hook: of_hook(hook, permissions) for hook in found_hooks})
    record(refusals, hooks.note_permissions(keys(refusals)))
    refusals = refused({rule: of_rule(rule, permissions) for rule in found_rules})
    record(refusals, event_rules.note_permissions(keys(refusals)))
    refusals = of_chains(steps, savers, permissions)
    record(refusals, chains.note_permissions(keys(refusals)))


def by_person(people: Iterable[User]) -> dict[int, Permissions]:
    return {each.user.pk or 0: each for each in permissions_of_each({person.pk: person for person in people}.values())}


def of_hook(hook: Hook, permissions: Mapping[int, Permissions]) -> Decision:
    return permissions[hook.account.user_id].decide(Verb.TRIGGER, hook.deployment)


def of_rule(rule: EventRule, permissions: Mapping[int, Permissions]) -> Decision:
    """Return whether the owner can run the deployment with some values, also within the scopes of the rule's token."""
    scope = event_rules.actor_of(rule, rule.deployment).scope
    return replace(permissions[rule.owner_id], scope=scope).decide(Verb.TRIGGER, rule.deployment)


def savers_of(owners: Collection[User]) -> dict[int, list[User]]:
    """Return for each owner who can save chains that are theirs: the owner, and then their service accounts."""
    found = {owner.pk or 0: [owner] for owner in owners}
    accounts = ServiceAccount.objects.filter(owner__in=owners, owner__is_active=True)
    for account in accounts.select_related("user").order_by("pk"):
        found[account.owner_id].append(account.user)
    return found


def of_chains(
    steps: Sequence[ChainStep], savers: Mapping[int, Sequence[User]], permissions: Mapping[int, Permissions]
) -> Refusals:
    """Return why the owner of each chain cannot run every step: nobody who can save it for them can."""
    by_chain: defaultdict[Chain, list[ChainStep]] = defaultdict(list)
    for step in steps:
        by_chain[step.version.chain].append(step)
    found: Refusals = {}
    for chain, its_steps in by_chain.items():
        refusals = [refusal_of(its_steps, permissions[saver.pk or 0]) for saver in savers[chain.owner_id]]
        own = refusals[0]
        # Compared with None: a decision that refuses is false.
        if own is not None and None not in refusals:
            found[chain] = own
    return found


def refusal_of(steps: Sequence[ChainStep], permissions: Permissions) -> Decision | None:
    """Return the decision about the first step that a person cannot run; None if they can run all."""
    for step in steps:
        decision = permissions.decide(Verb.TRIGGER, step.deployment)
        if not decision:
            return decision
    return None


def refused(decisions: Mapping[Any, Decision]) -> Refusals:
    return {row: decision for row, decision in decisions.items() if not decision}


def keys(refusals: Refusals) -> set[int]:
    return {row.pk for row in refusals}


def record(refusals: Refusals, changed: Iterable[int]) -> None:
    """Record an event for each that had permission when it was checked before."""
    lost = set(changed)
    for row, decision in refusals.items():
        if row.pk in lost:
            facts = {"kind": row._meta.model_name, "pk": row.pk, "name": row.name, "why": decision.sentence}
            events.record(RunEvent.Kind.AUTOMATION_WITHOUT_OWNER, environment=environment_of(row), data=facts)


def environment_of(row: Hook | EventRule | Chain) -> Environment:
    return row.environment if isinstance(row, Chain) else row.deployment.environment
