"""One deployment next to the same one in other environments: what differs, and since when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from flows.models import Deployment, Environment
from runs.access.decisions import Permissions
from runs.drift import drift_listings, facts
from runs.drift.pairs import Schedules, live_schedules
from runs.drift.since import Since
from runs.models import Drift
from runs.requests import visibility

Kind = Drift.Kind


@dataclass(frozen=True, slots=True)
class Beginning:
    """When a difference began, and the environment whose change began it; None if that is not known."""

    since: Since
    changed_in: Environment | None


@dataclass(frozen=True, slots=True)
class Column:
    """One deployment, with its values as the reader may see them; `hidden` are the kinds that they may not."""

    deployment: Deployment
    values: facts.Values
    hidden: frozenset[Kind] = frozenset()


@dataclass(frozen=True, slots=True)
class Other(Column):
    """A deployment that is compared, with what differs from the first column, and since when that is known."""

    differing: Mapping[Kind, Beginning | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Matrix:
    """A deployment and the others that it is compared with, in the order of their environments."""

    first: Column
    others: Sequence[Other]

    def differing(self) -> list[Kind]:
        return [kind for kind in Kind if any(kind in other.differing for other in self.others)]


def matrix(deployment: Deployment, permissions: Permissions) -> Matrix:
    """Compare a deployment with those of its name, or alias, that the reader sees. Two queries."""
    # With their health, which pages need to say how old this is.
    rows = drift_listings.pairs_of(deployment, permissions).select_related(
        "left__environment__server__health", "right__environment__server__health"
    )
    pairs = [(pair.right if pair.left_id == deployment.pk else pair.left, pair) for pair in rows]
    pairs.sort(key=lambda each: (each[0].environment.position, each[0].environment.pk, each[0].full_name))
    names = {deployment.full_name, *(other.full_name for other, _ in pairs)}
    schedules = live_schedules(names)
    # Secret in one environment is secret in all of them.
    secrets = facts.secrets_of(deployment, *(other for other, _ in pairs))
    own = values_of(deployment, schedules, secrets)
    shown = [one for one in (deployment, *(other for other, _ in pairs)) if can_view(permissions, one)]
    # Next to one without sample values, a schema with them would seem to differ.
    has_samples = len(shown) == len(pairs) + 1
    others = []
    for other, pair in pairs:
        values = values_of(other, schedules, secrets)
        differing = {kind: beginning(kind, pair) for kind in facts.differing(own, values)}
        others.append(Other(other, *seen(other, values, other in shown, has_samples), differing))
    return Matrix(Column(deployment, *seen(deployment, own, deployment in shown, has_samples)), others)


def values_of(deployment: Deployment, schedules: Schedules, secrets: frozenset[str]) -> facts.Values:
    own = schedules.get((deployment.environment_id, deployment.full_name), ())
    return facts.values_of(deployment, own, secrets)


def can_view(permissions: Permissions, deployment: Deployment) -> bool:
    return visibility.can_view_parameters(permissions, deployment)


def seen(
    deployment: Deployment, values: facts.Values, is_shown: bool, has_samples: bool
) -> tuple[facts.Values, frozenset[Kind]]:
    """Return what of the values the reader may see, and the kinds that they may not."""
    if not has_samples:
        schema = facts.schema_of(deployment, with_values=False)
        values = {**values, Kind.SCHEMA: {**values[Kind.SCHEMA], "schema": schema}}
    if not is_shown:
        return {**values, Kind.DEFAULTS: {}}, frozenset({Kind.DEFAULTS})
    return values, frozenset()


def beginning(kind: Kind, pair: Drift) -> Beginning | None:
    """Return when a difference began; None if it was not there when they were last compared."""
    stored = pair.since.get(kind)
    if stored is None:
        return None
    since = Since.read(stored)
    places = {"left": pair.left.environment, "right": pair.right.environment}
    return Beginning(since, places.get(since.side))
