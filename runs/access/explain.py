"""Why somebody may or may not do something: the decision, the grants that made it, and those that did not count."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.models import Q
from django.utils import timezone

from flows.models import Deployment
from runs.access import predicates
from runs.access.decisions import Decision, Permissions, Target
from runs.models import Grant, Verb
from runs.models.grant import PART_OF


@dataclass(frozen=True, slots=True)
class IgnoredGrant:
    """A grant that speaks of the verb, and why it did not decide."""

    grant: Grant
    why: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """`ignored` are the grants, of the person and of their groups, that did not decide."""

    decision: Decision
    ignored: tuple[IgnoredGrant, ...]


def explain(
    user: User, verb: Verb, target: Deployment | Target, parameters: Mapping[str, Any] | None = None
) -> Explanation:
    """The answer of `decide` with everything around it; `parameters` are resolved values, or None for any."""
    if isinstance(target, Deployment):
        target = Target.of(target)
    decision = Permissions.of(user).decide(verb, target, parameters)
    deciding = {grant.pk for grant in decision.grants}
    spoken = Q(verbs__contains=[verb]) | Q(verbs__contains=[PART_OF.get(verb, verb)], effect=Grant.Effect.DENY)
    theirs = Grant.objects.filter(spoken, Q(person=user) | Q(group__user=user)).distinct()
    others = theirs.exclude(pk__in=deciding).select_related("environment", "person", "group")
    return Explanation(
        decision, tuple(IgnoredGrant(each, why_ignored(each, user, target, parameters, decision)) for each in others)
    )


def why_ignored(
    grant: Grant, user: User, target: Target, parameters: Mapping[str, Any] | None, decision: Decision
) -> str:
    """The first thing that keeps a grant from counting, as a sentence."""
    now = timezone.now()
    is_prohibition = grant.effect == Grant.Effect.DENY
    is_unnamed = grant.environment_id is None and not is_prohibition
    told = predicates.describe(grant.predicate) if grant.predicate else ""
    fits = not grant.predicate or parameters is None or predicates.matches(grant.predicate, parameters)
    table = [
        (
            grant.revoked_at is not None,
            f"It was revoked {describe_moment(grant.revoked_at)} by {grant.revoked_by_name}.",
        ),
        (grant.valid_until is not None and grant.valid_until <= now, f"It ended {describe_moment(grant.valid_until)}."),
        (grant.valid_from is not None and grant.valid_from > now, f"It begins {describe_moment(grant.valid_from)}."),
        (not user.is_active, f"{user} is not active: no grant of theirs counts."),
        (
            grant.environment_id not in (None, target.environment.pk),
            f"It is for {grant.environment}, not for {target.environment}.",
        ),
        (
            is_unnamed and target.environment.is_protected,
            f"{target.environment} is protected, and it does not name it.",
        ),
        (grant.full_name not in ("", target.full_name), f"It is for the deployment {grant.full_name}."),
        (grant.flow_name not in ("", target.flow_name), f"It is for the flow {grant.flow_name}."),
        (bool(grant.tag) and grant.tag not in target.tags, f"It is for what is tagged {grant.tag}."),
        (is_prohibition and bool(told), f"It prohibits only when {told}."),
        (not fits, f"The values do not fit: it counts only when {told}."),
        (decision.code == "access.denied", "A prohibition wins over it."),
    ]
    return next((sentence for applies, sentence in table if applies), "It does not count here.")


def describe_moment(at: datetime | None) -> str:
    return f"on {timezone.localtime(at):%-d %b %Y at %H:%M}" if at else ""
