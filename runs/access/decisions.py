"""Decide whether an action is allowed, and restrict querysets to the rows it is allowed on.

`Permissions.decide` checks one row in Python, `Permissions.q` is the same in SQL: a change to one needs the same change
in the other. `tests/runs/access/test_decisions.py` compares them on random grants.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from django.contrib.auth.models import AnonymousUser, User
from django.db import models
from django.db.models import Q
from django.utils import timezone

from flows.models import Deployment, Environment
from flows.wording import deployment_name
from runs.access import predicates, visible_rows
from runs.actors import Actor, is_administrator
from runs.errors import Refused
from runs.models import Grant, Run, Selector, Verb
from runs.models.grant import PART_OF
from runs.shared_reads import shared

# Superusers configure and inspect without a grant. Starting, stopping and approving still need one, so that an
# administrator's account alone cannot run anything.
SUPERUSER_VERBS = frozenset({Verb.SEE, Verb.SEE_INPUTS, Verb.SEE_LOGS, Verb.PAUSE, Verb.MANAGE})

IN_FORCE = """revoked_at IS NULL
    AND (valid_from IS NULL OR valid_from <= %(now)s)
    AND (valid_until IS NULL OR valid_until > %(now)s)"""
# `active_grants` of one person, in SQL: each page and each action reads them, and compiling a queryset takes six times
# as long. `tests/runs/access/test_decisions.py` compares the two.
GRANTED = f"""
    SELECT * FROM runs_grant
    WHERE (
        person_id = %(user)s
        OR group_id = ANY(ARRAY(SELECT group_id FROM auth_user_groups WHERE user_id = %(user)s))
    )
    AND {IN_FORCE}
    ORDER BY granted_at DESC
"""
GRANTED_EACH = f"""
    SELECT runs_grant.*, holder FROM unnest(%(users)s::int[]) AS holder
    JOIN runs_grant ON person_id = holder
        OR group_id IN (SELECT group_id FROM auth_user_groups WHERE user_id = holder)
    WHERE {IN_FORCE}
    ORDER BY granted_at DESC
"""


class Forbidden(Refused):
    """The person has no permission; `decision` says why."""

    def __init__(self, decision: Decision) -> None:
        super().__init__(decision.code, decision.sentence)
        self.decision = decision


@dataclass(frozen=True, slots=True)
class Target:
    """What a grant's selector is matched against: a deployment, or a run without one (`full_name` is empty)."""

    environment: Environment
    flow_name: str
    full_name: str = ""
    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, deployment: Deployment) -> Target:
        return cls(deployment.environment, deployment.flow_name, deployment.full_name, tuple(deployment.tags))

    @classmethod
    def of_run(cls, run: Run) -> Target:
        """The deployment whose grants decide about a run, or its flow when there is none."""
        governing = run.access_deployment
        return cls.of(governing) if governing else cls(run.environment, run.flow_name)

    @classmethod
    def named(cls, run: Run) -> Target:
        """What rules select a run by: its own names and tags, not those of the run that it is part of."""
        return cls(run.environment, run.flow_name, run.deployment_name, tuple(run.tags))

    @classmethod
    def whole(cls, environment: Environment) -> Target:
        """Everything in an environment: only grants and policies without a narrower selector match it."""
        return cls(environment, "")

    def __hash__(self) -> int:
        # Without the environment: hashing a model's instance takes longer than all else, and names suffice.
        return hash((self.full_name, self.flow_name))

    def __str__(self) -> str:
        name = deployment_name(self.full_name) or self.flow_name
        return f"{name} in {self.environment}" if name else str(self.environment)


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether an action is allowed: `code` for programs, `sentence` for people, `grants` are those that decided."""

    allowed: bool
    code: str
    sentence: str
    grants: tuple[Grant, ...] = ()

    def __bool__(self) -> bool:
        return self.allowed


def matches(selector: Selector, target: Target) -> bool:
    """Return whether the selector matches the target; blank fields match everything."""
    return (
        selector.environment_id in (None, target.environment.id)
        and selector.full_name in ("", target.full_name)
        and selector.flow_name in ("", target.flow_name)
        and (not selector.tag or selector.tag in target.tags)
    )


def covers(grant: Grant, target: Target) -> bool:
    """Return whether the grant applies to the target. `visible_rows.covered` is the same in SQL."""
    is_unnamed = grant.environment_id is None and grant.effect == Grant.Effect.ALLOW
    # A grant for all environments must not open production by accident; a denial for all must close it.
    return matches(grant, target) and not (is_unnamed and target.environment.is_protected)


def decide_by(
    grants: Sequence[Grant],
    verb: Verb,
    target: Target,
    parameters: Mapping[str, Any] | None,
    known: Collection[str],
    *,
    who: str,
) -> Decision:
    """Return what one set of grants says. Deny wins; without a grant nothing is allowed."""
    # 1. Denials. Without values a denial with a condition is skipped: other values may still be allowed.
    denying = tuple(
        grant
        for grant in about(grants, verb, target, Grant.Effect.DENY)
        if not grant.predicate or (parameters is not None and predicates.may_match(grant.predicate, parameters, known))
    )
    if denying:
        reason = f" ({denying[0].reason})" if denying[0].reason else ""
        sentence = f"{who} is denied “{verb.label}” on {target}{describe_condition(denying)}{reason}."
        return Decision(False, "access.denied", sentence, denying)
    # 2. Grants. One whose condition fits is enough.
    allowing = about(grants, verb, target, Grant.Effect.ALLOW)
    fitting = tuple(
        grant
        for grant in allowing
        if not grant.predicate or parameters is None or predicates.matches(grant.predicate, parameters)
    )
    if fitting:
        return Decision(True, "access.granted", f"{who} is granted “{verb.label}” on {target}.", fitting)
    if allowing:
        sentence = f"{who} is granted “{verb.label}” on {target} only{describe_condition(allowing)}."
        return Decision(False, "access.values", sentence, allowing)
    # 3. No grant at all.
    hint = f" {target.environment} is protected: the grant must name it." if target.environment.is_protected else ""
    return Decision(False, "access.no_grant", f"{who} has no grant for “{verb.label}” on {target}.{hint}")


def about(grants: Iterable[Grant], verb: Verb, target: Target, effect: str) -> tuple[Grant, ...]:
    """Return the grants of one effect for this verb there; denying a verb also denies its parts (`PART_OF`)."""
    verbs = {verb, PART_OF.get(verb, verb)} if effect == Grant.Effect.DENY else {verb}
    return tuple([g for g in grants if g.effect == effect and not verbs.isdisjoint(g.verbs) and covers(g, target)])


@dataclass(frozen=True)
class Permissions:
    """One person's active grants, read once per action, and the scope within which the actor uses them.

    Do not store it longer: a grant that is revoked must stop working at the next click.
    """

    user: User | AnonymousUser
    grants: tuple[Grant, ...] = field(repr=False)
    scope: tuple[Grant, ...] | None = field(default=None, repr=False)
    # Which deployments match the narrow grants: read at most once per set of grants.
    read_keys: dict[Q, dict[int, list[int]]] = field(default_factory=dict, init=False, repr=False, compare=False)
    # The grants of a layer by the deployment that they name, with their places; and those near each deployment.
    named: dict[int, dict[str, list[tuple[int, Grant]]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    nearby: dict[tuple[int, str], list[Grant]] = field(default_factory=dict, init=False, repr=False, compare=False)
    # What `q` returned: a page asks the same for its rows, its counts and its filters.
    filters: dict[tuple[Verb, str, str], Q] = field(default_factory=dict, init=False, repr=False, compare=False)
    # What was decided without values: the rows of a list share few targets.
    decided: dict[tuple[Verb, Target], Decision] = field(default_factory=dict, init=False, repr=False, compare=False)

    @classmethod
    def of(cls, actor: Actor) -> Permissions:
        """Read what an actor can do now: the grants of the person it acts for, within its scope."""
        return cls(actor.user, granted_to(actor.user), actor.scope)

    @classmethod
    def of_person(cls, user: User | AnonymousUser) -> Permissions:
        """Read what a person can do without a scope: for questions about people, such as who is notified."""
        return cls(user, granted_to(user))

    @property
    def layers(self) -> tuple[tuple[Grant, ...], ...]:
        """The sets of grants each of which must allow an action: the person's, and the scope's if there is one."""
        return (self.grants,) if self.scope is None else (self.grants, self.scope)

    @property
    def is_administrator(self) -> bool:
        """Return whether everything can be configured and seen, without a grant."""
        return self.scope is None and is_administrator(self.user)

    def decide(self, verb: Verb, target: Deployment | Target, parameters: Mapping[str, Any] | None = None) -> Decision:
        """Return whether the action is allowed. Deny wins; without a grant nothing is allowed.

        `parameters` are the resolved values of the run. Without them the decision is whether any values would be
        allowed: enough to show a button, never enough to act.
        """
        if parameters is None:
            key = (verb, Target.of(target) if isinstance(target, Deployment) else target)
            if key not in self.decided:
                self.decided[key] = self.decide_uncached(verb, key[1], None)
            return self.decided[key]
        return self.decide_uncached(verb, target, parameters)

    def decide_uncached(
        self, verb: Verb, target: Deployment | Target, parameters: Mapping[str, Any] | None
    ) -> Decision:
        # 1. Who acts on what. `known` are the parameters of the flow, for conditions of denials.
        known: Collection[str] = ()
        if isinstance(target, Deployment):
            # Lists defer the schema column: reading it would cost a query for each row. Only values need it.
            properties = target.parameter_schema.get("properties") if parameters is not None else None
            known, target = properties if isinstance(properties, dict) else (), Target.of(target)
        who = self.user.get_username() or "An anonymous user"
        if not self.user.is_active:
            return Decision(False, "access.inactive", f"The account {who} is disabled.")
        # 2. The person's own grants, then the scope: a refusal of either refuses.
        decision = decide_by(self.near(self.grants, target), verb, target, parameters, known, who=who)
        if decision.code == "access.no_grant" and self.is_administering(verb):
            decision = Decision(True, "access.superuser", f"{who} is an administrator.")
        if decision and self.scope is not None:
            within = decide_by(self.near(self.scope, target), verb, target, parameters, known, who=who)
            if not within:
                return Decision(
                    False,
                    "access.scope",
                    f"This access of {who} is limited, and does not include “{verb.label}” on {target}.",
                )
        return decision

    def require(self, verb: Verb, target: Deployment | Target, parameters: Mapping[str, Any] | None = None) -> Decision:
        """Return `decide`'s decision when it allows; raise `Forbidden` when it does not."""
        decision = self.decide(verb, target, parameters)
        if not decision:
            raise Forbidden(decision)
        return decision

    def start(self, target: Deployment | Target) -> Decision:
        """Return whether the person can request a run, now or scheduled; the refusal is the one for now."""
        now = self.decide(Verb.TRIGGER, target)
        return now if now else self.decide(Verb.TRIGGER_LATER, target) or now

    def conditions(self, verb: Verb, deployment: Deployment) -> list[predicates.Predicate]:
        """Return the conditions of which the values must satisfy one; empty when any values are allowed."""
        found: list[predicates.Predicate] = []
        for layer in self.layers:
            allowing = about(layer, verb, Target.of(deployment), Grant.Effect.ALLOW)
            bound = [g.predicate for g in allowing if g.predicate] if all(g.predicate for g in allowing) else []
            pairs = [predicates.both(one, other) for one in found for other in bound]
            found = [each for each in pairs if each] or found or bound
        return found

    def has_condition(self, verb: Verb) -> bool:
        """Return whether any grant with the verb has a condition on values."""
        return any(grant.predicate and verb in grant.verbs for layer in self.layers for grant in layer)

    def can_any(self, verb: Verb) -> bool:
        """Return whether a grant has the verb at all: for menus and columns, never enough to act."""
        has_verb = [
            any(verb in grant.verbs and grant.effect == Grant.Effect.ALLOW for grant in layer) for layer in self.layers
        ]
        return (self.is_administering(verb) or has_verb[0]) and all(has_verb[1:])

    def is_administering(self, verb: Verb) -> bool:
        """Return whether the person has the verb as an administrator, without a grant; a scope still limits it."""
        return is_administrator(self.user) and verb in SUPERUSER_VERBS

    def denying(self, verb: Verb, target: Target) -> tuple[Grant, ...]:
        """Return the denials of this verb there, also those with a condition."""
        return tuple(grant for layer in self.layers for grant in about(layer, verb, target, Grant.Effect.DENY))

    def q(self, verb: Verb, *, deployment: str = "", base: str = "") -> Q:
        """Return a filter for the rows the verb is allowed on.

        `base` and `deployment` are lookup prefixes, such as "" and "deployment__".
        """
        if (verb, deployment, base) not in self.filters:
            administers = self.is_administering(verb)
            places = {"deployment": deployment, "base": base}
            found = visible_rows.condition(self.grants, verb, is_administering=administers, keys=self.keys, **places)
            if self.scope is not None:
                found &= visible_rows.condition(self.scope, verb, is_administering=False, keys=self.keys, **places)
            self.filters[verb, deployment, base] = found
        return self.filters[verb, deployment, base]

    def whole_environments(self, verb: Verb) -> Q:
        """Return a filter, by `environment`, for those in which the verb is allowed on every row.

        An environment that is only nearly so is not among them: what `q` allows there is asked row by row.
        """
        administers = self.is_administering(verb)
        found = visible_rows.whole_environments(self.grants, verb, is_administering=administers)
        if self.scope is not None:
            found &= visible_rows.whole_environments(self.scope, verb, is_administering=False)
        return found

    def near(self, grants: tuple[Grant, ...], target: Target) -> list[Grant]:
        """Return the grants of a layer that name this deployment or none, in their order.

        Of 200 grants on single deployments one is left, and this is asked for every row of a list.
        """
        key = (id(grants), target.full_name)
        if key not in self.nearby:
            names = self.named.setdefault(id(grants), {})
            if not names:
                for place, grant in enumerate(grants):
                    names.setdefault(grant.full_name, []).append((place, grant))
            found = [*names.get("", ()), *(names.get(target.full_name, ()) if target.full_name else ())]
            self.nearby[key] = [grant for _, grant in sorted(found, key=itemgetter(0))]
        return self.nearby[key]

    def keys(self, matching: Q) -> dict[int, list[int]]:
        """Return the keys of the deployments that match, by environment."""
        if matching not in self.read_keys:
            self.read_keys[matching] = visible_rows.read_keys(matching)
        return self.read_keys[matching]

    def deployments(self, verb: Verb = Verb.SEE) -> models.QuerySet[Deployment]:
        return Deployment.objects.filter(self.q(verb)).select_related("environment")

    def environments(self) -> models.QuerySet[Environment]:
        """Return the environments in which at least one deployment, or all of them, are visible."""
        found = Environment.objects.all()
        if not is_administrator(self.user):
            found = found.filter(visible_rows.environment_condition(self.grants, self.deployments()))
        if self.scope is not None:
            found = found.filter(visible_rows.environment_condition(self.scope, self.deployments()))
        return found


def describe_condition(grants: Sequence[Grant]) -> str:
    """Return the conditions of grants as the end of a sentence, such as “ when region is EU”."""
    conditions = [predicates.describe(grant.predicate) for grant in grants if grant.predicate]
    return f" when {'; or when '.join(conditions)}" if conditions else ""


def active_grants() -> models.QuerySet[Grant]:
    """Return the grants that are neither revoked nor outside their dates."""
    now = timezone.now()
    return Grant.objects.filter(
        Q(valid_from=None) | Q(valid_from__lte=now),
        Q(valid_until=None) | Q(valid_until__gt=now),
        revoked_at=None,
    ).select_related("environment", "person", "group")


def matching_grants(target: Target) -> models.QuerySet[Grant]:
    """Return the active grants, of all people and groups, whose selectors match a target; `covers` decides."""
    return active_grants().filter(
        Q(environment=None) | Q(environment=target.environment.pk),
        full_name__in=["", target.full_name],
        flow_name__in=["", target.flow_name],
        tag__in=["", *target.tags],
    )


def granted_to(user: User | AnonymousUser) -> tuple[Grant, ...]:
    """Return the active grants of a person and of their groups, in one query; none for a disabled account."""
    if not user.is_active:
        return ()
    return shared(
        ("grants", user.pk), lambda: tuple(Grant.objects.raw(GRANTED, {"user": user.pk, "now": timezone.now()}))
    )


def permissions_of_each(people: Iterable[User]) -> list[Permissions]:
    """Read what each of these people can do without a scope; in one query, besides that for the people."""
    found: dict[int, list[Grant]] = {person.pk: [] for person in people if person.is_active}
    rows: Any = Grant.objects.raw(GRANTED_EACH, {"users": list(found), "now": timezone.now()}) if found else ()
    for grant in rows:
        found[grant.holder].append(grant)
    return [Permissions(person, tuple(found.get(person.pk, ()))) for person in people]


def decide(
    actor: Actor, verb: Verb, target: Deployment | Target, parameters: Mapping[str, Any] | None = None
) -> Decision:
    """Return whether the actor may do this; reads the grants again, so that a revoked one does not count."""
    return Permissions.of(actor).decide(verb, target, parameters)


def require(
    actor: Actor, verb: Verb, target: Deployment | Target, parameters: Mapping[str, Any] | None = None
) -> Decision:
    """Return `decide`'s decision when it allows; raise `Forbidden` when it does not."""
    return Permissions.of(actor).require(verb, target, parameters)


def who_may(verb: Verb, deployment: Deployment) -> Iterable[tuple[Grant, Target]]:
    """Yield the grants, allowing and denying, for a verb on a deployment."""
    target = Target.of(deployment)
    about_verb = Q(verbs__contains=[verb]) | Q(verbs__contains=[PART_OF.get(verb, verb)], effect=Grant.Effect.DENY)
    for grant in matching_grants(target).filter(about_verb).order_by("effect", "group__name", "person__username"):
        if covers(grant, target):
            yield grant, target
