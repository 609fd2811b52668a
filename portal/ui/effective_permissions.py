"""What an account, or a token of it, may do at most: where its grants and its scopes meet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from flows.models import Environment
from flows.wording import deployment_name
from runs.access import predicates
from runs.access.decisions import Permissions, Target
from runs.models import Grant, Verb


@dataclass(frozen=True, slots=True)
class Reach:
    """One place in which a verb is allowed, for parameters that satisfy `condition`; blank is any."""

    target: Target
    condition: str


@dataclass(frozen=True, slots=True)
class Row:
    """The permissions in one place of an environment, as labels."""

    environment: Environment
    place: str
    permissions: str
    condition: str


def rows(permissions: Permissions, environments: Iterable[Environment]) -> list[Row]:
    """Return what is allowed in each environment; nothing for those where nothing is.

    Denials for a part of a place are left out: this is the most, and each act is decided by itself.
    """
    return [row for environment in environments for row in rows_in(permissions, environment)]


def rows_in(permissions: Permissions, environment: Environment) -> Iterator[Row]:
    found: dict[tuple[str, str], list[Verb]] = {}
    for verb in Verb:
        for reach in widest(list(reaches(permissions, verb, environment))):
            found.setdefault((place_label(reach.target), reach.condition), []).append(verb)
    # The whole environment first, whose label is the empty one here.
    for (place, condition), verbs in sorted(found.items()):
        yield Row(environment, place or "all deployments", ", ".join(str(verb.label) for verb in verbs), condition)


def reaches(permissions: Permissions, verb: Verb, environment: Environment) -> Iterator[Reach]:
    """Yield where a grant meets a scope, and the decision there is to allow."""
    layers: list[list[Grant]] = [
        [grant for grant in layer if is_allowing(grant, verb, environment)] for layer in permissions.layers
    ]
    if permissions.is_administering(verb):
        # Without a grant, as an administrator: everywhere.
        layers[0].append(Grant(effect=Grant.Effect.ALLOW, environment=environment, verbs=[verb]))
    for grants in product(*layers):
        target = meet(environment, grants)
        if target and permissions.decide(verb, target):
            conditions = dict.fromkeys(predicates.describe(each.predicate) for each in grants if each.predicate)
            yield Reach(target, f"only when {' and '.join(conditions)}" if conditions else "")


def is_allowing(grant: Grant, verb: Verb, environment: Environment) -> bool:
    # As `runs.access.decisions.covers`: what names no environment leaves the protected ones out.
    is_there = environment.pk == grant.environment_id or (grant.environment_id is None and not environment.is_protected)
    return grant.effect == Grant.Effect.ALLOW and verb in grant.verbs and is_there


def meet(environment: Environment, grants: Sequence[Grant]) -> Target | None:
    """Return the widest target that all of these match; None if there is none."""
    full_names = {grant.full_name for grant in grants} - {""}
    flow_names = {grant.flow_name or grant.full_name.partition("/")[0] for grant in grants} - {""}
    if len(full_names) > 1 or len(flow_names) > 1:
        return None
    tags = tuple(sorted({grant.tag for grant in grants} - {""}))
    return Target(environment, "".join(flow_names), "".join(full_names), tags)


def widest(found: Sequence[Reach]) -> list[Reach]:
    """Return the places that are not part of another one."""
    distinct = list(dict.fromkeys(found))
    return [one for one in distinct if not any(contains(other, one) for other in distinct if other != one)]


def contains(one: Reach, other: Reach) -> bool:
    return (
        one.condition in ("", other.condition)
        and one.target.full_name in ("", other.target.full_name)
        and one.target.flow_name in ("", other.target.flow_name)
        and set(one.target.tags) <= set(other.target.tags)
    )


def place_label(target: Target) -> str:
    """Return the place within its environment, such as “flow monthly, tag crm”; blank for all of it."""
    name = deployment_name(target.full_name) or (f"flow {target.flow_name}" if target.flow_name else "")
    return ", ".join([*([name] if name else []), *(f"tag {tag}" for tag in target.tags)])
