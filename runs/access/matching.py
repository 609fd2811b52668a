"""Which deployments a grant or a rule applies to, before it is saved and after."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from django.db.models import Q

from flows import parameters as schemas
from flows.models import Deployment
from runs.access import predicates, visible_rows
from runs.access.decisions import Permissions
from runs.models import Grant, Selector

# Deployments that are named, and those whose parameters are read.
MOST_NAMES, MOST_SCHEMAS = 5, 50


@dataclass(frozen=True, slots=True)
class Matches:
    """The deployments that a selector matches, as far as a person sees them."""

    count: int
    names: tuple[str, ...]
    # The parameters that hold no secret, of the first of them, with their JSON types.
    types: dict[str, frozenset[str]]
    is_narrow: bool

    @property
    def more(self) -> int:
        return self.count - len(self.names)


def condition(selector: Selector) -> Q:
    """Return the filter for the deployments that a grant covers, or that a policy or window applies to."""
    # Rules apply to protected environments too, like a denial; an allowing grant has to name them.
    fields = {name: getattr(selector, name) for name in ("environment", "tag", "flow_name", "full_name")}
    grant = selector if isinstance(selector, Grant) else Grant(effect=Grant.Effect.DENY, **fields)
    return visible_rows.covered([grant], deployment="", base="", keys=visible_rows.read_keys)


def matches_of(selector: Selector, permissions: Permissions) -> Matches:
    """Return what a selector matches now, among the deployments that a person can see."""
    rows = permissions.deployments().filter(condition(selector), deleted_upstream_at=None)
    found = rows.order_by("full_name", "environment__position")
    listed = list(found[:MOST_SCHEMAS])
    types: dict[str, frozenset[str]] = {}
    for each in listed:
        for name, kinds in schemas.parameter_types(each.parameter_schema).items():
            # Any type fits where one of them takes any.
            known = types.get(name, kinds)
            types[name] = known | kinds if known and kinds else frozenset()
    return Matches(
        count=rows.count(),
        names=tuple(label(each) for each in islice(listed, MOST_NAMES)),
        types=types,
        is_narrow=bool(selector.tag or selector.flow_name or selector.full_name),
    )


def label(deployment: Deployment) -> str:
    return f"{deployment} in {deployment.environment}"


def unknown_parameters(found: Matches, predicate: predicates.Predicate | None) -> list[str]:
    """Return the parameters of a condition that no matching deployment has; none where all cannot be known."""
    if not predicate or not found.count or found.count > MOST_SCHEMAS:
        return []
    return sorted(predicates.parameter_names(predicate) - found.types.keys())
