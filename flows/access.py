"""Whether an act is allowed: the one function that answers it, and the querysets it restricts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import Q
from django.utils import timezone

from flows.models import Deployment, Environment, Grant, Verb

# Administering is what a superuser is for; starting, stopping and approving still need a grant.
SUPERUSER_VERBS = frozenset({Verb.SEE, Verb.MANAGE})
PERMISSIONS = {
    "flows.view_deployment": Verb.SEE,
    "flows.trigger_deployment": Verb.TRIGGER,
    "flows.cancel_deployment": Verb.CANCEL,
    "flows.approve_deployment": Verb.APPROVE,
    "flows.manage_deployment": Verb.MANAGE,
    "runs.view_run": Verb.SEE,
    "runs.view_runrequest": Verb.SEE,
}


class Refused(Exception):
    """An act is not possible now; the message is a sentence for the person who asked."""

    code = "refused"


class Forbidden(Refused):
    """An act is not permitted to this person; carries the decision that said so."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.sentence)
        self.decision = decision
        self.code = decision.code


@dataclass(frozen=True, slots=True)
class Target:
    """What a grant's selector is held against: a deployment, or a run of none."""

    environment: Environment
    flow_name: str
    full_name: str = ""
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, deployment: Deployment) -> Target:
        return cls(deployment.environment, deployment.flow_name, deployment.full_name, tuple(deployment.tags))

    def __str__(self) -> str:
        return f"{self.full_name or self.flow_name} in {self.environment}"


@dataclass(frozen=True, slots=True)
class Decision:
    """An answer with its reasons: `code` for programs, `sentence` for people, the grants that decided."""

    allowed: bool
    code: str
    sentence: str
    grants: tuple[Grant, ...] = ()

    def __bool__(self) -> bool:
        return self.allowed


def covers(grant: Grant, target: Target) -> bool:
    """Whether the selector of a grant matches; `selector_q` says the same in SQL."""
    if grant.environment_id is None:
        # A protected environment must be named to be opened, but is closed by any prohibition.
        if target.environment.is_protected and grant.effect == Grant.Effect.ALLOW:
            return False
    elif grant.environment_id != target.environment.pk:
        return False
    return (
        grant.full_name in ("", target.full_name)
        and grant.flow_name in ("", target.flow_name)
        and (not grant.tag or grant.tag in target.tags)
    )


def selector_q(grant: Grant, *, deployment: str, base: str = "") -> Q:
    """`covers` in SQL, for a model whose lookups begin with `base` and reach the deployment by `deployment`."""
    q = Q(**{f"{base}environment__isnull": False})  # never empty: Django drops an empty Q, negated or not
    if grant.environment_id is not None:
        q &= Q(**{f"{base}environment": grant.environment_id})
    elif grant.effect == Grant.Effect.ALLOW:
        q &= Q(**{f"{base}environment__is_protected": False})
    if grant.full_name:
        q &= Q(**{f"{deployment}full_name": grant.full_name})
    if grant.flow_name:
        q &= Q(**{f"{base}flow_name": grant.flow_name})
    if grant.tag:
        q &= Q(**{f"{deployment}tags__contains": [grant.tag]})
    return q


@dataclass(frozen=True)
class Holding:
    """One person's grants, read once; ask it many times within one page or one act."""

    user: User | AnonymousUser
    grants: tuple[Grant, ...] = field(repr=False)

    @classmethod
    def of(cls, user: User | AnonymousUser) -> Holding:
        """Reads the grants that are valid now, of the person and of their groups."""
        if not user.is_active:
            return cls(user, ())
        return cls(user, tuple(in_force().filter(Q(person=user.pk) | Q(group__user=user.pk)).distinct()))

    def decide(self, verb: Verb, target: Deployment | Target, parameters: Any = None) -> Decision:
        """Deny wins; no grant, no act."""
        if isinstance(target, Deployment):
            target = Target.of(target)
        who = self.user.get_username() or "Somebody not signed in"
        if not self.user.is_active:
            return Decision(False, "inactive", f"{who} is not active.")
        matching = [grant for grant in self.grants if verb in grant.verbs and covers(grant, target)]
        denying = tuple(grant for grant in matching if grant.effect == Grant.Effect.DENY)
        if denying:
            reason = f" ({denying[0].reason})" if denying[0].reason else ""
            return Decision(False, "denied", f"A prohibition keeps {who} from “{verb}” on {target}{reason}.", denying)
        if matching:
            return Decision(True, "granted", f"{who} may “{verb}” on {target}.", tuple(matching))
        if self.user.is_superuser and verb in SUPERUSER_VERBS:
            return Decision(True, "superuser", f"{who} administers the portal.")
        hint = f" {target.environment} is protected: the grant must name it." if target.environment.is_protected else ""
        return Decision(False, "no-grant", f"{who} has no grant for “{verb}” on {target}.{hint}")

    def may_any(self, verb: Verb) -> bool:
        """Whether there is anything at all this verb is allowed on; for menus and columns, never for an act."""
        if self.user.is_active and self.user.is_superuser and verb in SUPERUSER_VERBS:
            return True
        return any(verb in grant.verbs and grant.effect == Grant.Effect.ALLOW for grant in self.grants)

    def q(self, verb: Verb, *, deployment: str = "", base: str = "") -> Q:
        """Rows this verb is allowed on. `base` and `deployment` are lookup prefixes, such as "" and "deployment__"."""
        relevant = [grant for grant in self.grants if verb in grant.verbs]
        allow = Q(pk__in=[])
        if self.user.is_active and self.user.is_superuser and verb in SUPERUSER_VERBS:
            allow = Q()
        else:
            for grant in relevant:
                if grant.effect == Grant.Effect.ALLOW:
                    allow |= selector_q(grant, deployment=deployment, base=base)
        for grant in relevant:
            if grant.effect == Grant.Effect.DENY:
                allow &= ~selector_q(grant, deployment=deployment, base=base)
        return allow

    def deployments(self, verb: Verb = Verb.SEE) -> models.QuerySet[Deployment]:
        return Deployment.objects.filter(self.q(verb)).select_related("environment")

    def environments(self) -> models.QuerySet[Environment]:
        """Environments of which at least one deployment, or everything, may be seen."""
        if self.user.is_active and self.user.is_superuser:
            return Environment.objects.all()
        seeing = [grant for grant in self.grants if Verb.SEE in grant.verbs]
        allowing = [grant for grant in seeing if grant.effect == Grant.Effect.ALLOW]
        seen = Q(pk__in=self.deployments().values("environment"))
        seen |= Q(pk__in=[grant.environment_id for grant in allowing if grant.environment_id])
        if any(grant.environment_id is None for grant in allowing):
            seen |= Q(is_protected=False)
        for grant in seeing:
            # A prohibition of everything there hides that it is there.
            if grant.effect == Grant.Effect.DENY and not (grant.full_name or grant.flow_name or grant.tag):
                seen &= ~Q(pk=grant.environment_id) if grant.environment_id else Q(pk__in=[])
        return Environment.objects.filter(seen)


def in_force() -> models.QuerySet[Grant]:
    """Grants that are neither revoked nor outside their dates."""
    now = timezone.now()
    return Grant.objects.filter(
        Q(valid_from=None) | Q(valid_from__lte=now),
        Q(valid_until=None) | Q(valid_until__gt=now),
        revoked_at=None,
    ).select_related("environment", "person", "group")


def decide(user: User | AnonymousUser, verb: Verb, target: Deployment | Target, parameters: Any = None) -> Decision:
    """Whether this person may do this to that; reads their grants afresh."""
    return Holding.of(user).decide(verb, target, parameters)


def demand(user: User | AnonymousUser, verb: Verb, target: Deployment | Target, parameters: Any = None) -> Decision:
    """`decide`, or raise `Forbidden`."""
    decision = decide(user, verb, target, parameters)
    if not decision:
        raise Forbidden(decision)
    return decision


def who_may(verb: Verb, deployment: Deployment) -> Iterable[tuple[Grant, Target]]:
    """The grants, allowing and denying, that bear on a verb at a deployment."""
    target = Target.of(deployment)
    for grant in in_force().filter(verbs__contains=[verb]).order_by("effect", "group__name", "person__username"):
        if covers(grant, target):
            yield grant, target


class GrantBackend(BaseBackend):
    """Answers Django's permission questions about deployments and runs from grants."""

    def has_perm(self, user_obj: Any, perm: str, obj: models.Model | None = None) -> bool:
        verb = PERMISSIONS.get(perm)
        if verb is None or not user_obj.is_active:
            return False
        holding = Holding.of(user_obj)
        if isinstance(obj, Deployment):
            return holding.decide(verb, obj).allowed
        return obj is None and holding.may_any(verb)
