"""What of a parameter form the reader's grants allow, and how that is said above it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.models import Deployment
from runs.access import predicates
from runs.access.decisions import Permissions, Target
from runs.models import Grant, Verb

REQUESTING = (Verb.TRIGGER, Verb.TRIGGER_LATER)
WHEN = {Verb.TRIGGER: "to start now", Verb.TRIGGER_LATER: "to start later", Verb.RERUN: "to run it again"}


@dataclass(frozen=True, slots=True)
class AllowedValues:
    """A schema for the eye, the values to begin with where a default is not allowed, and sentences above the form."""

    schema: Mapping[str, Any]
    initial: Mapping[str, Any]
    sentences: tuple[str, ...]


def allowed_values(
    permissions: Permissions, deployment: Deployment, verbs: Sequence[Verb] = REQUESTING
) -> AllowedValues:
    """What to show; what is allowed is said by the verb that is called with the values."""
    allowed = [verb for verb in verbs if permissions.decide(verb, deployment)]
    conditions = {verb: permissions.conditions(verb, deployment) for verb in allowed}
    never = {verb: denied_values(permissions, verb, deployment) for verb in allowed}
    said = {verb: describe(conditions[verb], never[verb]) for verb in allowed}
    if not any(said.values()):
        return AllowedValues(deployment.parameter_schema, {}, ())
    schema = deployment.parameter_schema
    left = [remaining(conditions[verb], never[verb]) for verb in allowed]
    if all(left):
        schema = predicates.narrowed(schema, [each for some in left for each in some])
    distinct = set(said.values())
    bound = [verb for verb in allowed if said[verb]]
    sentences = distinct if len(distinct) == 1 else [f"{WHEN[verb].capitalize()}: {said[verb]}" for verb in bound]
    return AllowedValues(schema, first_words(schema, deployment), tuple(sentences))


def denied_values(permissions: Permissions, verb: Verb, deployment: Deployment) -> list[predicates.Predicate]:
    """The values that nobody's permission brings back."""
    denying = permissions.grants_for(verb, Target.of(deployment), Grant.Effect.DENY)
    return [grant.predicate for grant in denying if grant.predicate]


def remaining(
    conditions: Sequence[predicates.Predicate], never: Sequence[predicates.Predicate]
) -> list[predicates.Predicate]:
    """The permissions without what prohibitions take from them, as far as that is simple; nothing for any value."""
    taken: predicates.Predicate | None = None
    for each in never:
        taken = predicates.both(taken, predicates.opposite(each))
    found = [predicates.both(each, taken) for each in conditions] if conditions else [taken]
    return [each for each in found if each]


def describe(conditions: Sequence[predicates.Predicate], never: Sequence[predicates.Predicate]) -> str:
    parts = []
    if conditions:
        grants = "Your grant allows" if len(conditions) == 1 else "Your grants allow"
        parts.append(f"{grants}: {'; or '.join(map(predicates.describe, conditions))}.")
    if never:
        parts.append(f"Never: {'; and never: '.join(map(predicates.describe, never))}.")
    return " ".join(parts)


def first_words(schema: Mapping[str, Any], deployment: Deployment) -> dict[str, Any]:
    """The first choice that is left, for each parameter whose own default is not among them."""
    found = {}
    for name, node in schema.get("properties", {}).items():
        before = deployment.parameter_schema["properties"][name]
        default = deployment.parameter_defaults.get(name, node.get("default"))
        if node != before and node.get("enum") and default not in node["enum"]:
            found[name] = node["enum"][0]
    return found
