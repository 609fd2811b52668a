"""What a rule makes of one event: whether it may react, whether the conditions hold, and the parameters.

Used when an event comes, again when its request is made, and by the dry run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.contrib.auth.models import User

from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import rule_conditions, value_mapping
from runs.automation.happenings import Happening, facts_for
from runs.automation.value_mapping import Unusable
from runs.errors import Refused
from runs.models import EventRule, Hook

# Rules in a row, each made to react by a run of the one before.
MOST_DEPTH = 5
# Codes with which a rule does nothing, by its own design; all others say that its request was refused.
CODES_OF_SKIPS = frozenset(
    {
        *("event_rule.unmet", "event_rule.loop", "event_rule.depth", "event_rule.debounced", "event_rule.rate"),
        *("event_rule.altered", "event_rule.paused", "event_rule.owner_disabled", "event_rule.expired"),
        "event_rule.gone",
    }
)


class Readers:
    """The owners of rules, with what each can see: read once for a batch, and not kept longer.

    `within` is the actor of a token of the only owner, whose scope limits that.
    """

    def __init__(self, owners: Iterable[User], *, within: Actor | None = None) -> None:
        self.permissions: dict[int, Permissions] = {}
        self.hooks: dict[int, dict[int, Hook]] = {}
        people = {owner.pk: owner for owner in owners}
        for pk, owner in people.items():
            self.permissions[pk] = Permissions.of(within) if within else Permissions.of_person(owner)
            self.hooks[pk] = {}
        for hook in Hook.objects.filter(account__owner__in=people).select_related("account"):
            self.hooks[hook.account.owner_id][hook.pk] = hook

    def facts_for(self, owner: User, happening: Happening) -> dict[str, Any] | None:
        """Return what an owner can read of a happening; None if it is invisible to them."""
        return facts_for(happening, self.permissions[owner.pk], self.hooks[owner.pk])


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
