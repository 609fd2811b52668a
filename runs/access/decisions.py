"""Whether an act is allowed: the one function that answers it, and the querysets it restricts."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import Q
from django.utils import timezone

from flows.models import Deployment, Environment
from runs.access import predicates
from runs.errors import Refused
from runs.models import Grant, Run, Selector, Verb
from runs.models.grant import PART_OF

# Administering is what a superuser is for; starting, stopping and approving still need a grant.
SUPERUSER_VERBS = frozenset({Verb.SEE, Verb.SEE_INPUTS, Verb.SEE_LOGS, Verb.PAUSE, Verb.MANAGE})


class Forbidden(Refused):
    """An act is not permitted to this person; carries the decision that said so."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.code, decision.sentence)
        self.decision = decision


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

    @classmethod
    def of_run(cls, run: Run) -> Target:
        """The deployment of a run, or its flow when it has none."""
        return cls.of(run.deployment) if run.deployment else cls(run.environment, run.flow_name)

    @classmethod
    def whole(cls, environment: Environment) -> Target:
        """Everything in an environment: only grants and policies without a narrower selector match it."""
        return cls(environment, "")

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


def matches(selector: Selector, target: Target) -> bool:
    """Whether a rule is about this; what its selector leaves empty matches everything."""
    return (
        selector.environment_id in (None, target.environment.pk)
        and selector.full_name in ("", target.full_name)
        and selector.flow_name in ("", target.flow_name)
        and (not selector.tag or selector.tag in target.tags)
    )


def covers(grant: Grant, target: Target) -> bool:
    """Whether the selector of a grant matches; `selector_q` says the same in SQL."""
    is_unnamed = grant.environment_id is None and grant.effect == Grant.Effect.ALLOW
    # A protected environment must be named to be opened, but is closed by any prohibition.
    return matches(grant, target) and not (is_unnamed and target.environment.is_protected)


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
class Permissions:
    """One person's grants, read once; ask it many times within one page or one act."""

    user: User | AnonymousUser
    grants: tuple[Grant, ...] = field(repr=False)

    @classmethod
    def of(cls, user: User | AnonymousUser) -> Permissions:
        """Reads the grants that are valid now, of the person and of their groups."""
        if not user.is_active:
            return cls(user, ())
        return cls(user, tuple(active_grants().filter(Q(person=user.pk) | Q(group__user=user.pk)).distinct()))

    def decide(self, verb: Verb, target: Deployment | Target, parameters: Mapping[str, Any] | None = None) -> Decision:
        """Deny wins; no grant, no act.

        `parameters` are the resolved values of the run. Without them the answer is whether there are any values at all
        this would be allowed with: enough for a button, never for an act.
        """
        known: Collection[str] = ()
        if isinstance(target, Deployment):
            # Lists leave the schema out: nothing but values is held against it.
            properties = target.parameter_schema.get("properties") if parameters is not None else None
            known, target = properties if isinstance(properties, dict) else (), Target.of(target)
        who = self.user.get_username() or "Somebody not signed in"
        if not self.user.is_active:
            return Decision(False, "access.inactive", f"{who} is not active.")
        denying = tuple(
            grant
            for grant in self.grants_for(verb, target, Grant.Effect.DENY)
            if not grant.predicate
            or (parameters is not None and predicates.may_match(grant.predicate, parameters, known))
        )
        if denying:
            reason = f" ({denying[0].reason})" if denying[0].reason else ""
            sentence = f"A prohibition keeps {who} from “{verb}” on {target}{describe_condition(denying)}{reason}."
            return Decision(False, "access.denied", sentence, denying)
        allowing = self.grants_for(verb, target, Grant.Effect.ALLOW)
        counting = tuple(
            grant
            for grant in allowing
            if not grant.predicate or parameters is None or predicates.matches(grant.predicate, parameters)
        )
        if counting:
            return Decision(True, "access.granted", f"{who} may “{verb}” on {target}.", counting)
        if allowing:
            sentence = f"{who} may “{verb}” on {target} only{describe_condition(allowing)}."
            return Decision(False, "access.values", sentence, allowing)
        if self.user.is_superuser and verb in SUPERUSER_VERBS:
            return Decision(True, "access.superuser", f"{who} administers the portal.")
        hint = f" {target.environment} is protected: the grant must name it." if target.environment.is_protected else ""
        return Decision(False, "access.no_grant", f"{who} has no grant for “{verb}” on {target}.{hint}")

    def start(self, target: Deployment | Target) -> Decision:
        """Whether there is any way to ask for a run of this, now or later."""
        now = self.decide(Verb.TRIGGER, target)
        return now if now else self.decide(Verb.TRIGGER_LATER, target) or now

    def grants_for(self, verb: Verb, target: Target, effect: str) -> tuple[Grant, ...]:
        """The grants of one effect that speak of this verb there; a prohibition of a verb is one of all its parts."""
        verbs = {verb, PART_OF.get(verb, verb)} if effect == Grant.Effect.DENY else {verb}
        return tuple(g for g in self.grants if g.effect == effect and verbs & set(g.verbs) and covers(g, target))

    def conditions(self, verb: Verb, deployment: Deployment) -> list[predicates.Predicate]:
        """What the values must satisfy, one of these or none; empty where any value is allowed."""
        allowing = self.grants_for(verb, Target.of(deployment), Grant.Effect.ALLOW)
        return [g.predicate for g in allowing if g.predicate] if all(g.predicate for g in allowing) else []

    def can_any(self, verb: Verb) -> bool:
        """Whether there is anything at all this verb is allowed on; for menus and columns, never for an act."""
        if self.user.is_active and self.user.is_superuser and verb in SUPERUSER_VERBS:
            return True
        return any(verb in grant.verbs and grant.effect == Grant.Effect.ALLOW for grant in self.grants)

    def q(self, verb: Verb, *, deployment: str = "", base: str = "") -> Q:
        """Rows this verb is allowed on. `base` and `deployment` are lookup prefixes, such as "" and "deployment__"."""
        allow = Q(pk__in=[])
        if self.user.is_active and self.user.is_superuser and verb in SUPERUSER_VERBS:
            allow = Q()
        else:
            for grant in self.grants:
                if grant.effect == Grant.Effect.ALLOW and verb in grant.verbs:
                    allow |= selector_q(grant, deployment=deployment, base=base)
        for grant in self.grants:
            # One that is bound to values says nothing about rows.
            is_meant = verb in grant.verbs or PART_OF.get(verb, verb) in grant.verbs
            if grant.effect == Grant.Effect.DENY and is_meant and not grant.predicate:
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


def describe_condition(grants: Sequence[Grant]) -> str:
    """What values these grants speak of, as the end of a sentence."""
    said = [predicates.describe(grant.predicate) for grant in grants if grant.predicate]
    return f" when {'; or when '.join(said)}" if said else ""


def active_grants() -> models.QuerySet[Grant]:
    """Grants that are neither revoked nor outside their dates."""
    now = timezone.now()
    return Grant.objects.filter(
        Q(valid_from=None) | Q(valid_from__lte=now),
        Q(valid_until=None) | Q(valid_until__gt=now),
        revoked_at=None,
    ).select_related("environment", "person", "group")


def decide(
    user: User | AnonymousUser,
    verb: Verb,
    target: Deployment | Target,
    parameters: Mapping[str, Any] | None = None,
) -> Decision:
    """Whether this person may do this to that; reads their grants afresh."""
    return Permissions.of(user).decide(verb, target, parameters)


def require(
    user: User | AnonymousUser,
    verb: Verb,
    target: Deployment | Target,
    parameters: Mapping[str, Any] | None = None,
) -> Decision:
    """`decide`, or raise `Forbidden`."""
    decision = decide(user, verb, target, parameters)
    if not decision:
        raise Forbidden(decision)
    return decision


def who_may(verb: Verb, deployment: Deployment) -> Iterable[tuple[Grant, Target]]:
    """The grants, allowing and denying, that bear on a verb at a deployment."""
    target = Target.of(deployment)
    spoken = Q(verbs__contains=[verb]) | Q(verbs__contains=[PART_OF.get(verb, verb)], effect=Grant.Effect.DENY)
    for grant in active_grants().filter(spoken).order_by("effect", "group__name", "person__username"):
        if covers(grant, target):
            yield grant, target
