"""What a rule makes of one event: whether it may react, whether the conditions hold, and the parameters.

Used when an event comes, again when its request is made, and by the dry run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import rule_conditions, value_mapping
from runs.automation.happenings import Happening, facts_for
from runs.automation.value_mapping import Unusable
from runs.errors import Refused
from runs.governance import tokens
from runs.models import EventRule, Hook, Verb

# Rules in a row, each made to react by a run of the one before.
MOST_DEPTH = 5
# Codes with which a rule does nothing, by its own design; all others say that its request was refused.
CODES_OF_SKIPS = frozenset(
    {
        *("event_rule.unmet", "event_rule.loop", "event_rule.depth", "event_rule.debounced", "event_rule.rate"),
        *("event_rule.altered", "event_rule.paused", "event_rule.owner_disabled", "event_rule.expired"),
        *("event_rule.deleted", "event_rule.gone", "event_rule.token_ended"),
    }
)


class Readers:
    """What rules can see: what their owners can, within their tokens. Read once for a batch, and not kept longer.

    `within` is the actor of another token of the only owner, whose scope limits that too.
    """

    def __init__(self, rules: Iterable[EventRule], *, within: Actor | None = None) -> None:
        self.readers: dict[tuple[int, int | None], Reader] = {}
        chosen = {(rule.owner_id, rule.token_id): rule for rule in rules}
        hooks: dict[int, dict[int, Hook]] = {owner: {} for owner, _ in chosen}
        rows = Hook.objects.filter(account__owner__in=hooks)
        for hook in rows.select_related("account", "deployment__environment"):
            hooks[hook.account.owner_id][hook.pk] = hook
        for key, rule in chosen.items():
            own = hooks[rule.owner_id]
            if rule.token is None:
                self.readers[key] = Reader(Permissions.of_person(rule.owner), own)
            else:
                self.readers[key] = Reader.within(tokens.actor_of(rule.token, address=""), own)
        self.other = Reader.within(within, hooks.get(within.user.pk, {})) if within else None

    def facts_for(self, rule: EventRule, happening: Happening) -> dict[str, Any] | None:
        """Return what a rule can read of a happening; None if it is invisible to it."""
        found = self.readers[rule.owner_id, rule.token_id].facts_for(happening)
        return self.other.facts_for(happening) if found is not None and self.other else found


@dataclass(frozen=True, slots=True)
class Reader:
    """What one person can see, or one token; `hooks` are those of their service accounts, by key."""

    permissions: Permissions
    hooks: Mapping[int, Hook]

    @classmethod
    def within(cls, by: Actor, hooks: Mapping[int, Hook]) -> Reader:
        """Return the reader of a token, which sees the hooks whose deployments it shows."""
        permissions = Permissions.of(by)
        seen = {pk: hook for pk, hook in hooks.items() if permissions.decide(Verb.SEE, hook.deployment)}
        return cls(permissions, seen)

    def facts_for(self, happening: Happening) -> dict[str, Any] | None:
        return facts_for(happening, self.permissions, self.hooks)


def require_no_loop(rule: EventRule, ancestors: Sequence[int]) -> None:
    """Refuse a rule whose own request led to the event, and the last of too many in a row."""
    if rule.pk in ancestors:
        raise Refused("event_rule.loop", "A request of this rule led to the event: it does not react to itself.")
    if len(ancestors) >= MOST_DEPTH:
        raise Refused(
            "event_rule.depth",
            f"The event comes from {len(ancestors)} rules in a row; at most {MOST_DEPTH} are followed.",
        )


def require_fitting(rule: EventRule, facts: Mapping[str, Any]) -> None:
    """Refuse facts that do not fulfil the conditions of the rule."""
    if unmet := rule_conditions.first_unmet(rule.conditions, facts):
        # Not what was found: it can be a parameter, which readers of this row may not see.
        raise Refused("event_rule.unmet", f"This condition does not hold: {unmet}.")


def parameters_for(rule: EventRule, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that the mapping of a rule takes from facts."""
    try:
        return value_mapping.parameters_of(facts, rule.mapping, what="event")
    except Unusable as error:
        raise Refused("event_rule.pointer", str(error), **error.data) from error
