"""Who can act on a deployment, and which grants affect the deployments that a person manages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.contrib.postgres.fields import ArrayField
from django.db.models import CharField, Exists, ExpressionWrapper, F, Func, OuterRef, Q, QuerySet

from flows.models import Deployment
from runs.access import predicates
from runs.access.decisions import SUPERUSER_VERBS, Permissions, Target, covers, matching_grants
from runs.models import Grant, Verb
from runs.models.grant import PART_OF


@dataclass(frozen=True, slots=True)
class Allowed:
    """One person and how they are allowed. `only` and `never` are conditions on values, in words."""

    name: str
    groups: tuple[str, ...] = ()
    only: str = ""
    never: str = ""
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """Who is allowed one verb, and who is denied it although a grant would allow it."""

    allowed: tuple[Allowed, ...]
    denied: tuple[Allowed, ...]
    has_administrators: bool = False


def who_can(deployment: Deployment, verbs: Iterable[Verb]) -> dict[Verb, Access]:
    """Return for each verb what `decide` would return for each active person, in two queries for all people."""
    # 1. The grants that apply here, and the people and groups they name.
    target = Target.of(deployment)
    matching = matching_grants(target).select_related("person", "group")
    grants_for = [grant for grant in matching if covers(grant, target)]
    members: dict[int, set[int]] = {}
    named = [grant.person for grant in grants_for if grant.person]
    names = {person.pk: person.get_username() for person in named if person.is_active}
    groups = {grant.group_id for grant in grants_for if grant.group_id}
    for group, pk, name in User.objects.filter(is_active=True, groups__in=groups).values_list(
        "groups", "pk", "username"
    ):
        members.setdefault(group, set()).add(pk)
        names[pk] = name
    # 2. Grant -> the people it reaches. A disabled account is in no set: its grants do not count.
    people = {
        grant.id: members.get(grant.group_id, set()) if grant.group_id else names.keys() & {grant.person_id}
        for grant in grants_for
    }
    return {verb: access_to(verb, grants_for, people, names) for verb in verbs}


def access_to(verb: Verb, grants_for: Sequence[Grant], people: dict[int, set[int]], names: dict[int, str]) -> Access:
    allowing = [grant for grant in grants_for if grant.effect == Grant.Effect.ALLOW and verb in grant.verbs]
    # As in `decisions.about`: denying a verb also denies its parts.
    denied_verbs = {verb, PART_OF.get(verb, verb)}
    denying = [grant for grant in grants_for if grant.effect == Grant.Effect.DENY and denied_verbs & set(grant.verbs)]

    grants_of, denials_of = by_person(allowing, people), by_person(denying, people)

    def allowed(pk: int) -> Allowed:
        granted = grants_of.get(pk, [])
        bound = [predicates.describe(grant.predicate) for grant in granted if grant.predicate]
        never = [predicates.describe(grant.predicate) for grant in denials_of.get(pk, []) if grant.predicate]
        ends = [grant.valid_until for grant in granted]
        return Allowed(
            names[pk],
            tuple(dict.fromkeys(grant.subject for grant in granted if grant.group_id)),
            # One grant without a condition allows any values, whatever the others say.
            "; or when ".join(dict.fromkeys(bound)) if len(bound) == len(granted) else "",
            "; nor when ".join(dict.fromkeys(never)),
            None if None in ends else max((end for end in ends if end), default=None),
        )

    # A denial with a condition denies some values only.
    denied_to = {pk for pk, denials in denials_of.items() if not all(grant.predicate for grant in denials)}
    granted_to = grants_of.keys() - denied_to
    # Denied people without any grant are listed too: they may be why someone asks.
    by_name = sorted(granted_to | denied_to, key=lambda pk: names[pk].lower())
    return Access(
        tuple(allowed(pk) for pk in by_name if pk in granted_to),
        tuple(allowed(pk) for pk in by_name if pk in denied_to),
        verb in SUPERUSER_VERBS,
    )


def by_person(grants: Iterable[Grant], people: dict[int, set[int]]) -> dict[int, list[Grant]]:
    """Return the grants of each person, in their order."""
    found: dict[int, list[Grant]] = {}
    for grant in grants:
        for pk in people[grant.id]:
            found.setdefault(pk, []).append(grant)
    return found


def grants_affecting(permissions: Permissions, verb: Verb) -> Q:
    """Return a filter for the grants that cover at least one deployment the verb is allowed on.

    `covers` in SQL, for all deployments at once.
    """
    wanted = {
        name: ExpressionWrapper(OuterRef(name), output_field=CharField()) for name in ("full_name", "flow_name", "tag")
    }
    tags = Func(F("wanted_tag"), template="ARRAY[%(expressions)s]::varchar[]", output_field=ArrayField(CharField()))
    there: QuerySet[Deployment] = Deployment.objects.filter(permissions.q(verb)).alias(
        **{f"wanted_{name}": value for name, value in wanted.items()}
    )
    covered = there.filter(
        Q(wanted_full_name="") | Q(full_name=F("wanted_full_name")),
        Q(wanted_flow_name="") | Q(flow_name=F("wanted_flow_name")),
        Q(wanted_tag="") | Q(tags__contains=tags),
    )
    named = Q(Exists(covered.filter(environment=OuterRef("environment"))))
    # As in `covers`: a grant for all environments leaves out protected ones, a denial for all does not.
    everywhere = Q(Exists(covered.filter(environment__is_protected=False)))
    everywhere |= Q(Exists(covered), effect=Grant.Effect.DENY)
    return Q(named, environment__isnull=False) | Q(everywhere, environment=None)
