"""Which rows a person sees: their grants as conditions in SQL. `decisions` decides the same for one target."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Q, QuerySet

from flows.models import Deployment
from runs.models import Grant, Verb
from runs.models.grant import PART_OF

# The lookup of the deployment that decides about a run, and about its counts; other rows always have a deployment.
OF_RUN = "access_deployment__"


def condition(
    grants: Sequence[Grant], verb: Verb, *, is_administering: bool, deployment: str = "", base: str = ""
) -> Q:
    """Return the condition for the rows on which these grants allow the verb.

    `base` and `deployment` are lookup prefixes, such as "" and "access_deployment__". `is_administering` allows it
    everywhere but where a grant denies it.
    """
    allow = Q() if is_administering else Q(pk__in=[])  # all rows, or none; grants add to it
    for grant in grants:
        if not is_administering and grant.effect == Grant.Effect.ALLOW and verb in grant.verbs:
            allow |= selector_q(grant, deployment=deployment, base=base)
    for grant in grants:
        # A denial with a condition denies some values, not the row.
        is_about_verb = verb in grant.verbs or PART_OF.get(verb, verb) in grant.verbs
        if grant.effect == Grant.Effect.DENY and is_about_verb and not grant.predicate:
            allow &= ~selector_q(grant, deployment=deployment, base=base)
    return allow


def selector_q(grant: Grant, *, deployment: str, base: str = "") -> Q:
    """Return `covers` in SQL, for a model whose lookups start with `base` and reach the deployment by `deployment`."""
    q = Q(**{f"{base}environment__isnull": False})  # Django drops an empty Q, even a negated one: a denial would vanish
    if grant.environment_id is not None:
        q &= Q(**{f"{base}environment": grant.environment_id})
    elif grant.effect == Grant.Effect.ALLOW:
        q &= Q(**{f"{base}environment__is_protected": False})
    if grant.full_name:
        q &= Q(**{f"{deployment}full_name": grant.full_name})
    if grant.flow_name:
        flow = Q(**{f"{deployment}flow_name": grant.flow_name})
        if deployment.endswith(OF_RUN):  # a run without a deployment is known by its flow alone
            flow |= Q(**{f"{deployment}isnull": True, f"{base}flow_name": grant.flow_name})
        q &= flow
    if grant.tag:
        q &= Q(**{f"{deployment}tags__contains": [grant.tag]})
    return q


def environment_condition(grants: Sequence[Grant], deployments: QuerySet[Deployment]) -> Q:
    """Return the condition for the environments in which at least one deployment, or all of them, are visible."""
    seeing = [grant for grant in grants if Verb.SEE in grant.verbs]
    allowing = [grant for grant in seeing if grant.effect == Grant.Effect.ALLOW]
    # An environment without deployments is visible too, when a grant names it: it may just be new.
    seen = Q(pk__in=deployments.values("environment"))
    seen |= Q(pk__in=[grant.environment_id for grant in allowing if grant.environment_id])
    if any(grant.environment_id is None for grant in allowing):
        seen |= Q(is_protected=False)
    for grant in seeing:
        # Denying everything in an environment hides the environment itself.
        if grant.effect == Grant.Effect.DENY and not (grant.full_name or grant.flow_name or grant.tag):
            seen &= ~Q(pk=grant.environment_id) if grant.environment_id else Q(pk__in=[])
    return seen
