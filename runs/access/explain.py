"""Explain a decision: the grants that decided, and why each of the others did not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from flows.models import Deployment
from flows.wording import deployment_name
from runs.access import predicates
from runs.access.decisions import Decision, Permissions, Target
from runs.models import Grant, Verb
from runs.models.grant import PART_OF


@dataclass(frozen=True, slots=True)
class IgnoredGrant:
    """A grant for the verb that did not decide: `code` is a key of the table in `why_ignored`, `why` a sentence."""

    grant: Grant
    code: str
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`ignored` are the grants of the person and of their groups that did not decide."""

    decision: Decision
    ignored: tuple[IgnoredGrant, ...]


def explain(
    user: User, verb: Verb, target: Deployment | Target, parameters: Mapping[str, Any] | None = None
) -> Explanation:
    """Return the decision with the ignored grants; `parameters` are resolved values, or None for any values."""
    # Before the deployment becomes a target: a condition on a default that only the flow's code knows needs its schema.
    decision = Permissions.of_person(user).decide(verb, target, parameters)
    if isinstance(target, Deployment):
        target = Target.of(target)
    deciding = {grant.pk for grant in decision.grants}
    about_verb = Q(verbs__contains=[verb]) | Q(verbs__contains=[PART_OF.get(verb, verb)], effect=Grant.Effect.DENY)
    # Revoked and expired grants are included: “it was revoked” is the explanation most people look for.
    theirs = Grant.objects.filter(about_verb, Q(person=user) | Q(group__user=user)).distinct()
    others = theirs.exclude(pk__in=deciding).select_related("environment", "person", "group")
    return Explanation(
        decision, tuple(IgnoredGrant(each, *why_ignored(each, user, target, parameters, decision)) for each in others)
    )


def why_ignored(
    grant: Grant, user: User, target: Target, parameters: Mapping[str, Any] | None, decision: Decision
) -> tuple[str, str]:
    """Return the first reason why a grant does not apply, as a code and a sentence."""
    now = timezone.now()
    is_denial = grant.effect == Grant.Effect.DENY
    is_unnamed = grant.environment_id is None and not is_denial
    condition = predicates.describe(grant.predicate) if grant.predicate else ""
    # Without values the question is about any values, which a condition cannot fail.
    fits = not grant.predicate or parameters is None or predicates.matches(grant.predicate, parameters)
    # In this order: a revoked grant for another environment is reported as revoked, whatever else is wrong with it.
    table = [
        (
            grant.revoked_at is not None,
            "revoked",
            f"Revoked {describe_moment(grant.revoked_at)} by {grant.revoked_by_name}.",
        ),
        (
            grant.valid_until is not None and grant.valid_until <= now,
            "expired",
            f"Expired {describe_moment(grant.valid_until)}.",
        ),
        (
            grant.valid_from is not None and grant.valid_from > now,
            "not_started",
            f"Starts {describe_moment(grant.valid_from)}.",
        ),
        (not user.is_active, "inactive", f"The account {user} is disabled."),
        (
            grant.environment_id not in (None, target.environment.pk),
            "environment",
            f"Applies to {grant.environment}, not to {target.environment}.",
        ),
        (
            is_unnamed and target.environment.is_protected,
            "protected",
            f"{target.environment} is protected, and the grant does not name it.",
        ),
        (
            grant.full_name not in ("", target.full_name),
            "deployment",
            f"Applies to the deployment {deployment_name(grant.full_name)}.",
        ),
        (grant.flow_name not in ("", target.flow_name), "flow", f"Applies to the flow {grant.flow_name}."),
        (
            bool(grant.tag) and grant.tag not in target.tags,
            "tag",
            f"Applies to deployments with the tag {grant.tag}.",
        ),
        (is_denial and bool(condition), "denial_values", f"Denies only when {condition}."),
        (not fits, "values", f"The values do not match: applies only when {condition}."),
        (decision.code == "access.denied", "denied", "A denial takes precedence."),
    ]
    return next(((code, sentence) for applies, code, sentence in table if applies), ("other", "Does not apply here."))


def describe_moment(at: datetime | None) -> str:
    return f"on {timezone.localtime(at):%-d %b %Y at %H:%M}" if at else ""
