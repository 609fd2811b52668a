"""Narrows the parameter form to the values that the user's grants allow, and describes those limits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows.models import Deployment
from runs.access import predicates
from runs.access.decisions import Permissions, Target
from runs.models import Verb

REQUESTING = (Verb.TRIGGER, Verb.TRIGGER_LATER)
WHEN = {Verb.TRIGGER: "to start now", Verb.TRIGGER_LATER: "to start later", Verb.RERUN: "to re-run"}


@dataclass(frozen=True, slots=True)
class AllowedValues:
    """The narrowed schema, initial values where a default is not allowed, and the sentences above the form."""

    schema: Mapping[str, Any]
    initial: Mapping[str, Any]
    sentences: tuple[str, ...]


def allowed_values(
    permissions: Permissions, deployment: Deployment, verbs: Sequence[Verb] = REQUESTING
) -> AllowedValues:
    """Return what the form offers. It only helps: `requests.submit` decides about the values that are sent."""
    allowed = [verb for verb in verbs if permissions.decide(verb, deployment)]
    conditions = {verb: permissions.conditions(verb, deployment) for verb in allowed}
    never = {verb: denied_values(permissions, verb, deployment) for verb in allowed}
    described = {verb: describe(conditions[verb], never[verb]) for verb in allowed}
    if not any(described.values()):
        return AllowedValues(deployment.parameter_schema, {}, ())
    schema = deployment.parameter_schema
    remaining_values = [remaining(conditions[verb], never[verb]) for verb in allowed]
    # A verb without limits allows every value, so nothing can be left out of the form.
    if all(remaining_values):
        schema = predicates.narrowed(schema, [each for some in remaining_values for each in some])
    distinct = set(described.values())
    bound = [verb for verb in allowed if described[verb]]
    sentences = distinct if len(distinct) == 1 else [f"{WHEN[verb].capitalize()}: {described[verb]}" for verb in bound]
    return AllowedValues(schema, first_choices(schema, deployment), tuple(sentences))


def denied_values(permissions: Permissions, verb: Verb, deployment: Deployment) -> list[predicates.Predicate]:
    """Return the conditions of denying grants; no allowing grant overrides them."""
    denying = permissions.denying(verb, Target.of(deployment))
    return [grant.predicate for grant in denying if grant.predicate]


def remaining(
    conditions: Sequence[predicates.Predicate], never: Sequence[predicates.Predicate]
) -> list[predicates.Predicate]:
    """Subtract denied values from the allowed ones, as far as a predicate can express it; empty if all are allowed."""
    not_denied: predicates.Predicate | None = None
    for each in never:
        not_denied = predicates.both(not_denied, predicates.opposite(each))
    found = [predicates.both(each, not_denied) for each in conditions] if conditions else [not_denied]
    return [each for each in found if each]


def describe(conditions: Sequence[predicates.Predicate], never: Sequence[predicates.Predicate]) -> str:
    parts = []
    if conditions:
        grants = "Your grant allows" if len(conditions) == 1 else "Your grants allow"
        parts.append(f"{grants}: {'; or '.join(map(predicates.describe, conditions))}.")
    if never:
        parts.append(f"Never: {'; and never: '.join(map(predicates.describe, never))}.")
    return " ".join(parts)


def first_choices(schema: Mapping[str, Any], deployment: Deployment) -> dict[str, Any]:
    """Return the first remaining choice of each parameter whose default is not among the remaining ones."""
    found = {}
    for name, node in schema.get("properties", {}).items():
        before = deployment.parameter_schema["properties"][name]
        default = deployment.parameter_defaults.get(name, node.get("default"))
        # Otherwise the form would start with a value that is refused.
        if node != before and node.get("enum") and default not in node["enum"]:
            found[name] = node["enum"][0]
    return found
