"""Preview a person's access and explain decisions, without acting as them. Each use is in the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.auth.models import User

from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters import Invalid
from runs import audit
from runs.access.decisions import Decision, Forbidden, Permissions
from runs.access.explain import Explanation, explain
from runs.actors import Actor
from runs.models import Verb


def preview_as(person: User, *, by: Actor, reason: str = "") -> Permissions:
    """Return a person's permissions, for a page that shows what they would see. No action can be done with them."""
    with audit.act("person.try", person, by=by, reason=reason, subject_kind="person") as act:
        require_viewer(person, by)
        act.after = {"looked_at": "what they see"}
        return Permissions.of_person(person)


def why(
    person: User, verb: Verb, deployment: Deployment, parameters: Mapping[str, Any] | None = None, *, by: Actor
) -> Explanation:
    """Explain a decision. `parameters` are what the person would enter; the deployment's defaults are added."""
    with audit.act("person.try", person, by=by, subject_kind="person") as act:
        require_viewer(person, by)
        found = explain(
            person, verb, deployment, None if parameters is None else resolve_values(deployment, parameters)
        )
        # The code, not the sentence: it can be counted and does not change with the wording.
        act.environment = deployment.environment.slug
        act.after = {"verb": verb, "deployment": deployment.full_name, "answer": found.decision.code}
        return found


def require_viewer(person: User, by: Actor) -> None:
    """Refuse to show other people's access to anyone but administrators."""
    # The system is one too: commands run by an operator, who can read the database.
    if not by.is_administrator and not by.is_same_person_as(person.pk):
        raise Forbidden(Decision(False, "access.no_grant", "Only administrators can view the access of other people."))


def resolve_values(deployment: Deployment, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values a run would get; invalid ones as entered, so that the conditions can still be explained."""
    try:
        return schemas.validate(deployment.parameter_schema, dict(parameters), defaults=deployment.parameter_defaults)
    except Invalid:
        return {**deployment.parameter_defaults, **parameters}
