"""Context of the page of one deployment in all environments that the reader sees it in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import QuerySet
from django.db.models.functions import JSONObject
from django.http import HttpRequest

from flows.models import Deployment, Environment
from flows.wording import plural
from portal.auth.request_user import permissions_of
from portal.ui import freshness
from portal.ui.diff import Change, diff
from portal.ui.text import json_text
from runs.access.decisions import Permissions
from runs.drift import drift_listings
from runs.drift.matrix import Beginning, Column, Matrix, Other, matrix
from runs.models import Drift

Kind = Drift.Kind
# Differences that one cell unfolds, and lines of one value.
MOST_CHANGES, MOST_LINES = 200, 30
# Kinds whose values are objects that are compared part by part.
STRUCTURED = frozenset({Kind.CODE, Kind.SCHEMA, Kind.DEFAULTS, Kind.JOB_VARIABLES})
# Digits of a fingerprint that are displayed.
SHORT = 12


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of one deployment; `changes` are its values next to those of the first column."""

    deployment: Deployment
    lines: Sequence[str]
    more: int = 0
    is_hidden: bool = False
    differs: bool = False
    beginning: Beginning | None = None
    changes: Sequence[Change] = ()
    has_more_changes: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    kind: Kind
    cells: Sequence[Cell]

    @property
    def differs(self) -> bool:
        return any(cell.differs for cell in self.cells)

    @property
    def unfolds(self) -> bool:
        return any(cell.changes for cell in self.cells)


@dataclass(frozen=True, slots=True)
class Neighbour:
    """The same deployment in another environment, and the labels of what differs there."""

    environment: Environment
    labels: Sequence[str]


def context(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """Build the template context; select the environment and its health with `deployment`."""
    found = matrix(deployment, permissions_of(request))
    columns = [found.first, *found.others]
    return {
        "deployment": deployment,
        "columns": [
            {"deployment": each.deployment, "fingerprint": each.deployment.definition_fingerprint[:SHORT]}
            for each in columns
        ],
        "rows": [row_of(kind, found) for kind in Kind],
        "differing": [kind.label for kind in found.differing()],
        "has_others": bool(found.others),
        "freshness": freshness.freshness_of([each.deployment.environment for each in columns], "deployments"),
    }


def row_of(kind: Kind, found: Matrix) -> Row:
    return Row(kind, [cell_of(kind, found.first), *(other_cell(kind, found.first, other) for other in found.others)])


def cell_of(kind: Kind, column: Column) -> Cell:
    if kind in column.hidden:
        return Cell(column.deployment, [], is_hidden=True)
    lines = lines_of(kind, column.values[kind])
    return Cell(column.deployment, lines[:MOST_LINES], max(len(lines) - MOST_LINES, 0))


def other_cell(kind: Kind, first: Column, other: Other) -> Cell:
    cell = cell_of(kind, other)
    if kind not in other.differing:
        return cell
    is_open = kind in STRUCTURED and kind not in first.hidden | other.hidden
    changes = changed(*(parts_of(kind, each.values[kind]) for each in (first, other))) if is_open else []
    return Cell(
        cell.deployment,
        cell.lines,
        cell.more,
        cell.is_hidden,
        differs=True,
        beginning=other.differing[kind],
        changes=changes[:MOST_CHANGES],
        has_more_changes=len(changes) > MOST_CHANGES,
    )


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """Return the values that differ, and one more than are displayed at most."""
    return list(islice((each for each in diff(before, after) if each.tone != "grey"), MOST_CHANGES + 1))


def parts_of(kind: Kind, value: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what is compared part by part: of a schema without the name of the value that it is in."""
    if kind == Kind.SCHEMA and isinstance(value["schema"], Mapping):
        return {**value["schema"], "is enforced": value["is enforced"]}
    return value


def lines_of(kind: Kind, value: Any) -> list[str]:
    """Return a value as lines of text; of a schema only how large it is."""
    match kind:
        case Kind.VERSION:
            return [value] if value else []
        case Kind.SCHEMA:
            schema = value["schema"]
            if not isinstance(schema, Mapping):
                return [str(schema)]
            parameters = schema.get("properties")
            number = len(parameters) if isinstance(parameters, Mapping) else 0
            return [plural(number, "parameter"), *([] if value["is enforced"] else ["not enforced by Prefect"])]
        case Kind.SCHEDULES:
            return [*(["all paused"] if value["is paused"] else []), *value["schedules"]]
        case Kind.PORTAL_SCHEDULES:
            return [f"{each['name']}: {each['rule']}, {each['state']}" for each in value]
        case Kind.TAGS:
            return list(value)
        case _:
            return [f"{name}: {json_text(each)}" for name, each in sorted(value.items()) if each not in ("", None, [])]


def with_neighbours(deployments: QuerySet[Deployment], permissions: Permissions) -> QuerySet[Deployment]:
    """Annotate deployments with what `neighbours` reads: their pairs with other environments that the reader sees."""
    sides = {
        f"{side}_{name}": f"{side}_environment__{column}"
        for side in ("left", "right")
        for name, column in (("slug", "slug"), ("protected", "is_protected"), ("position", "position"))
    }
    pairs = drift_listings.pairs_of_row(permissions)
    row = JSONObject(left="left_id", kinds="kinds", **sides)
    return deployments.annotate(drift_pairs=ArraySubquery(pairs.values(found=row)))


def neighbours(deployment: Deployment) -> list[Neighbour]:
    """Return the other environments of a deployment that was read by `with_neighbours`."""
    pairs: list[dict[str, Any]] = getattr(deployment, "drift_pairs", [])
    found = []
    for pair in pairs:
        side = "right" if pair["left"] == deployment.pk else "left"
        # Not saved: it only provides the tag of the environment.
        place = Environment(
            slug=pair[f"{side}_slug"], is_protected=pair[f"{side}_protected"], position=pair[f"{side}_position"]
        )
        found.append(Neighbour(place, [str(kind.label) for kind in Kind if kind in pair["kinds"]]))
    return sorted(found, key=lambda each: (each.environment.position, each.environment.slug))
