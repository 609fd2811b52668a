"""What a token may hold at most: its scopes, its life, its networks."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from flows.db_text import sanitize
from runs import moments
from runs.access import predicates
from runs.errors import Refused
from runs.governance.rule_changes import can_read_trail
from runs.models import Policy, Scope, Token, TokenScope, Verb
from runs.models.grant import WITH_PARAMETERS

# The longest life of a token where no policy says less.
LONGEST = timedelta(days=365)
MOST_SCOPES, MOST_NETWORKS, MAX_NAME_LENGTH = 20, 20, 100
# An emergency override is the act of a person who has just signed in.
NEVER = frozenset({Verb.BREAK_GLASS})
VERBS = tuple(verb for verb in Verb if verb not in NEVER)
# An agent looks and asks. It decides nothing, and views no parameters.
AGENT_VERBS = (Verb.SEE, Verb.SEE_LOGS, Verb.TRIGGER, Verb.TRIGGER_LATER, Verb.BACKFILL, Verb.CANCEL)


def required_name(name: str) -> str:
    name = sanitize(name.strip())[:MAX_NAME_LENGTH]
    if not name:
        raise Refused("token.name_required", "Give the token a name by which you will know it, such as “nightly CI”.")
    return name


def checked_expiry(expires_at: datetime, scopes: Sequence[Scope]) -> datetime:
    """Return an expiry in UTC; refuse scopes that are not usable, and an expiry that is too late for them."""
    if not scopes or len(scopes) > MOST_SCOPES:
        raise Refused("token.scope", f"Give the token 1 to {MOST_SCOPES} scopes.")
    for scope in scopes:
        require_usable(scope)
    expires_at = moments.in_utc(expires_at)
    allowed = longest(scopes)
    # A minute, so that the choice of “30 days” is not refused when it arrives.
    if not timezone.now() < expires_at <= timezone.now() + allowed + timedelta(minutes=1):
        raise Refused(
            "token.expiry",
            f"Choose an expiry in the future, at most {allowed.days} days ahead.",
            days=allowed.days,
        )
    return expires_at


def require_usable(scope: Scope) -> None:
    """Refuse a scope without verbs, or with a condition that cannot apply."""
    if not scope.verbs or set(scope.verbs) - set(VERBS):
        raise Refused(
            "token.scope", "Choose at least one verb for each scope. A token cannot have “emergency override”."
        )
    scope.verbs = [verb for verb in Verb.values if verb in scope.verbs]
    if scope.predicate is None:
        return
    if errors := predicates.problems(scope.predicate):
        raise Refused("grant.condition", f"The condition on parameters is not valid. {' '.join(errors)}")
    if unbound := [verb for verb in scope.verbs if verb not in WITH_PARAMETERS]:
        raise Refused(
            "grant.condition_unbound",
            f"A condition on parameters cannot apply to {', '.join(Verb(verb).label for verb in unbound)}. Add a scope "
            "without it for them.",
            verbs=unbound,
        )


def require_may_read_trail(token: Token) -> None:
    """Refuse to open the audit trail by a token whose account cannot read it, or that is an agent's."""
    if token.reads_trail and (token.agent or not can_read_trail(token.user)):
        raise Refused(
            "token.trail", "Only administrators and auditors can have a token that reads the whole audit trail."
        )


def require_agent_scopes(token: Token, scopes: Sequence[TokenScope]) -> None:
    """Refuse a token of someone else's agent, and one with more verbs than an agent can have."""
    if token.agent is None:
        return
    if token.agent.owner_id != token.user_id:
        raise Refused("agent.not_own", f"The agent {token.agent} belongs to someone else.")
    if beyond := sorted({verb for scope in scopes for verb in scope.verbs} - set(AGENT_VERBS)):
        raise Refused(
            "token.agent_scope",
            f"An agent cannot have {', '.join(Verb(verb).label for verb in beyond)}. It can have "
            f"{', '.join(verb.label for verb in AGENT_VERBS)}.",
            verbs=beyond,
        )


def parse_networks(networks: Sequence[str]) -> list[str]:
    """Return addresses and networks in CIDR notation, in one spelling each."""
    found = []
    for each in filter(None, map(str.strip, networks)):
        try:
            found.append(str(ipaddress.ip_network(each, strict=False)))
        except ValueError as error:
            raise Refused(
                "token.networks", f"“{each}” is not an address or a network such as 10.0.0.0/8.", network=each
            ) from error
    if len(found) > MOST_NETWORKS:
        raise Refused("token.networks", f"Give at most {MOST_NETWORKS} networks.")
    return list(dict.fromkeys(found))


def longest(scopes: Sequence[Scope]) -> timedelta:
    """Return the longest life of a token with these scopes, by the policies that reach something in them."""
    limits = [
        # Compared as numbers: a policy may hold more days than a timedelta.
        timedelta(days=min(policy.token_days or 0, LONGEST.days))
        for policy in Policy.objects.exclude(token_days=None).select_related("environment")
        if any(reaches(policy, scope) for scope in scopes)
    ]
    return min([LONGEST, *limits])


def reaches(policy: Policy, scope: Scope) -> bool:
    """Return whether there could be a deployment to which both apply."""
    # A scope without an environment leaves the protected ones out. Tags exclude nothing: a deployment can get any tag.
    if scope.environment_id is None and policy.environment and policy.environment.is_protected:
        return False
    pairs = [
        (policy.environment_id, scope.environment_id),
        (policy.full_name, scope.full_name),
        (policy.flow_name or policy.full_name.partition("/")[0], scope.flow_name or scope.full_name.partition("/")[0]),
    ]
    return all(not one or not other or one == other for one, other in pairs)
