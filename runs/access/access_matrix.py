"""Who may do what where: what people and groups hold in whole environments, by the same decisions as every action."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from django.contrib.auth.models import Group, User
from django.db.models import Q
from django.utils import timezone

from flows.models import Environment
from runs.access.decisions import SUPERUSER_VERBS, Target, decide_by, permissions_of_each
from runs.actors import is_administrator
from runs.models import Grant, Verb
from runs.models.grant import PART_OF


class Reach(StrEnum):
    """On which deployments of an environment a verb is allowed."""

    NONE = "none"
    SOME = "some"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Held:
    """One verb in one environment. `has_condition` says that it is limited to parameter values."""

    reach: Reach
    has_condition: bool = False
    # A denial takes some or all of it away.
    is_denied: bool = False


Cells = Mapping[int, Mapping[Verb, Held]]


def of_people(people: Sequence[User], environments: Sequence[Environment]) -> list[Cells]:
    """Return for each person what they hold in each environment, by its key."""
    return [
        cells(found.grants, environments, administers=is_administrator(found.user))
        for found in permissions_of_each(people)
    ]


def of_groups(groups: Sequence[Group], environments: Sequence[Environment]) -> list[Cells]:
    """Return for each group what its members hold through it."""
    now = timezone.now()
    begun, lasts = Q(valid_from=None) | Q(valid_from__lte=now), Q(valid_until=None) | Q(valid_until__gt=now)
    grants: dict[int, list[Grant]] = {group.pk: [] for group in groups}
    for grant in Grant.objects.filter(begun, lasts, group__in=groups, revoked_at=None):
        if grant.group_id is not None:
            grants[grant.group_id].append(grant)
    return [cells(grants[group.pk], environments, administers=False) for group in groups]


def cells(grants: Iterable[Grant], environments: Iterable[Environment], *, administers: bool) -> Cells:
    rows = list(grants)
    return {
        place.pk: {verb: held(rows, verb, place, administers=administers and verb in SUPERUSER_VERBS) for verb in Verb}
        for place in environments
    }


def held(grants: Sequence[Grant], verb: Verb, place: Environment, *, administers: bool = False) -> Held:
    """Return on which deployments these grants allow a verb, whatever deployments there are.

    `ALL` and `NONE` hold for every deployment, also for one that is deployed later.
    """
    # 1. What is said of the environment as a whole.
    whole = decide_by(grants, verb, Target.whole(place), None, (), who="")
    is_allowed = whole.allowed or (administers and whole.code == "access.no_grant")
    allowing, denying = of_place(grants, verb, place)
    if whole.code == "access.denied":
        return Held(Reach.NONE, is_denied=True)
    # 2. What is said of a part of it.
    hard = [grant for grant in denying if not grant.predicate]
    left = [grant for grant in allowing if not any(contains(denial, grant) for denial in hard)]
    if not is_allowed and not left:
        return Held(Reach.NONE, is_denied=bool(hard and allowing))
    reach = Reach.ALL if is_allowed and not hard else Reach.SOME
    deciding = whole.grants if is_allowed else left
    has_condition = bool(deciding) and all(grant.predicate for grant in deciding)
    return Held(reach, has_condition or len(hard) < len(denying), bool(denying))


def of_place(grants: Iterable[Grant], verb: Verb, place: Environment) -> tuple[list[Grant], list[Grant]]:
    """Return the grants that allow a verb on something in an environment, and those that deny it."""
    denied = {verb, PART_OF.get(verb, verb)}
    allowing, denying = [], []
    for grant in grants:
        if grant.environment_id not in (None, place.pk):
            continue
        if grant.effect == Grant.Effect.DENY:
            denying += [grant] if denied & set(grant.verbs) else []
        # As in `decisions.covers`: a protected environment has to be named.
        elif verb in grant.verbs and (grant.environment_id or not place.is_protected):
            allowing.append(grant)
    return allowing, denying


def contains(denial: Grant, grant: Grant) -> bool:
    """Return whether a denial covers all that a grant does, in an environment that both are for."""
    flow_name = grant.flow_name or grant.full_name.partition("/")[0]
    return (
        denial.full_name in ("", grant.full_name)
        and denial.flow_name in ("", flow_name)
        and denial.tag in ("", grant.tag)
    )
