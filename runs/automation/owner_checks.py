"""Note why hooks, event rules and chains could not run: a missing permission, a deployment that was deleted.

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

from flows import deployments
from flows.models import Deployment
from runs import events, requests
from runs.access.decisions import Permissions, Target, permissions_of_each
from runs.automation import chains, event_rules, hooks
from runs.automation.renewals import environment_of
from runs.errors import Refused
from runs.models import Chain, ChainStep, EventRule, Hook, RunEvent, ServiceAccount, Verb
from runs.shared_reads import shared, shared_reads

# Of a deployment, and large: nothing here reads it.
UNREAD = [f"deployment__{name}" for name in ("parameter_schema", "parameter_defaults", "definition")]
# Hook, event rule or chain -> why it cannot run, in words that everyone who sees it may read; empty if it can.
type Obstacles = dict[Any, str]


@transaction.atomic
def check() -> None:
    """Note of each one that is enabled what prevents its runs; the grants of all are read in one query."""
    found_hooks = list(hooks.rows().filter(is_enabled=True).defer(*UNREAD))
    found_rules = list(event_rules.rows().filter(is_enabled=True, deleted_at=None).defer(*UNREAD))
    steps = list(chains.steps_of_enabled().defer(*UNREAD))
    savers = savers_of({step.version.chain.owner for step in steps})
    accounts = [hook.account.user for hook in found_hooks]
    owners = [rule.owner for rule in found_rules]
    permissions = by_person([*accounts, *owners, *(each for group in savers.values() for each in group)])
    # Many run the same deployment: one that was deleted is looked up once.
    with shared_reads():
        of_hooks = {hook: of_hook(hook, permissions) for hook in found_hooks}
        of_rules = {rule: of_rule(rule, permissions) for rule in found_rules}
        of_chains = obstacles_of_chains(steps, savers, permissions)
    record(of_hooks, hooks.note_checked(by_key(of_hooks)))
    record(of_rules, event_rules.note_checked(by_key(of_rules)))
    record(of_chains, chains.note_checked(by_key(of_chains)))


def by_person(people: Iterable[User]) -> dict[int, Permissions]:
    return {each.user.pk or 0: each for each in permissions_of_each({person.pk: person for person in people}.values())}


def of_hook(hook: Hook, permissions: Mapping[int, Permissions]) -> str:
    return obstacle(hook.deployment, permissions[hook.account.user_id])


def of_rule(rule: EventRule, permissions: Mapping[int, Permissions]) -> str:
    """Return why the owner cannot run the deployment with any values, also within the scopes of the rule's token."""
    scope = event_rules.actor_of(rule, rule.deployment).scope
    return obstacle(rule.deployment, replace(permissions[rule.owner_id], scope=scope))


def obstacle(deployment: Deployment, permissions: Permissions) -> str:
    """Return why every run would be refused; empty if nothing prevents them.

    A deployment that was deleted counts as the one that has its name now.
    """
    current = shared(("current deployment", deployment.pk), lambda: deployments.current(deployment))
    deployment = current or deployment
    try:
        requests.require_submittable(deployment, scheduled_for=None)
    except Refused as refusal:
        return refusal.message
    decision = permissions.decide(Verb.TRIGGER, deployment)
    if decision.code == "access.denied":
        # Not its sentence, which ends with the reason that the denial was given.
        return f"{permissions.user.get_username()} is denied “{Verb.TRIGGER.label}” on {Target.of(deployment)}."
    return "" if decision else decision.sentence


def savers_of(owners: Collection[User]) -> dict[int, list[User]]:
    """Return for each owner who can save chains that are theirs: the owner, and then their service accounts."""
    found = {owner.pk or 0: [owner] for owner in owners}
    accounts = ServiceAccount.objects.filter(owner__in=owners, owner__is_active=True)
    for account in accounts.select_related("user").order_by("pk"):
        found[account.owner_id].append(account.user)
    return found


def obstacles_of_chains(
    steps: Sequence[ChainStep], savers: Mapping[int, Sequence[User]], permissions: Mapping[int, Permissions]
) -> Obstacles:
    """Return why the owner of each chain cannot run every step: nobody who can save it for them can."""
    by_chain: defaultdict[Chain, list[ChainStep]] = defaultdict(list)
    for step in steps:
        by_chain[step.version.chain].append(step)
    found: Obstacles = {}
    for chain, its_steps in by_chain.items():
        obstacles = [of_steps(its_steps, permissions[saver.pk or 0]) for saver in savers[chain.owner_id]]
        found[chain] = obstacles[0] if all(obstacles) else ""
    return found


def of_steps(steps: Sequence[ChainStep], permissions: Permissions) -> str:
    """Return why a person cannot run the first step that they cannot run; empty if they can run all."""
    return next(filter(None, (obstacle(step.deployment, permissions) for step in steps)), "")


def by_key(obstacles: Obstacles) -> dict[int, str]:
    return {row.pk: why for row, why in obstacles.items() if why}


def record(rows: Iterable[Any], changed: Iterable[int]) -> None:
    """Record an event for each that nothing prevented when it was checked before."""
    new = set(changed)
    for row in rows:
        if row.pk in new:
            facts = {"kind": row._meta.model_name, "pk": row.pk, "name": row.name}
            events.record(RunEvent.Kind.AUTOMATION_PREVENTED, environment=environment_of(row), data=facts)
