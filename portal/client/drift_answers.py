"""What the portal answers about environment drift."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class DriftPlace:
    environment: str
    deployment: str


@dataclass(frozen=True, slots=True)
class DriftSince:
    """When a difference began, exactly or at the latest; `changed_in` is the environment whose change began it."""

    at: datetime
    is_exact: bool
    changed_in: str | None


@dataclass(frozen=True, slots=True)
class Drift:
    """A deployment that differs between two environments; `since` has the beginning of each difference."""

    id: int
    left: DriftPlace
    right: DriftPlace
    differs_in: list[str]
    since: dict[str, DriftSince]
    changed_at: datetime
    url: str


@dataclass(frozen=True, slots=True)
class ComparedValue:
    """`value` is None where it is hidden; `since` is None where it does not differ, or only since a moment ago."""

    value: Any
    is_hidden: bool
    differs: bool
    since: DriftSince | None


@dataclass(frozen=True, slots=True)
class ComparedDeployment:
    environment: str
    deployment: str
    id: str
    values: dict[str, ComparedValue]


@dataclass(frozen=True, slots=True)
class DriftMatrix:
    """A deployment next to the same one in the other environments that you see."""

    deployment: ComparedDeployment
    others: list[ComparedDeployment]
    differs_in: list[str]


@dataclass(frozen=True, slots=True)
class DriftLine:
    """One difference of a matrix, as a table shows it."""

    difference: str
    environment: str
    changed: str
    since: datetime | None


def lines_of(matrix: DriftMatrix) -> list[DriftLine]:
    """Return what differs in a matrix, one line for each environment."""
    return [
        DriftLine(kind, other.environment, changed_in(found.since), found.since.at if found.since else None)
        for kind in matrix.differs_in
        for other in matrix.others
        if (found := other.values[kind]).differs
    ]


def changed_in(since: DriftSince | None) -> str:
    if since is None:
        return ""
    return since.changed_in or ("" if since.is_exact else "then or earlier")
