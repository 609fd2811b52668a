"""Routes of environment drift: what differs between environments, and one deployment in all of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal, cast

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema

from portal.api import paging
from portal.api.catalog_routes import DEPLOYMENT, Reference, actor_of, deployment_of
from portal.api.catalog_schemas import link
from portal.api.problems import PROBLEMS
from runs.access.decisions import Permissions
from runs.drift.drift_listings import DRIFT
from runs.drift.matrix import Beginning, Column, Matrix, Other, matrix
from runs.drift.since import Since
from runs.models import Drift

router = Router(tags=["Environment drift"])
# A name of its own: the description of the API has one component for each name, and other rows have kinds too.
Difference = Literal[
    "version",
    "code",
    "schema",
    "defaults",
    "job variables",
    "work pool",
    "schedules",
    "portal schedules",
    "limits",
    "tags",
]
DriftFilters = paging.filters_of(DRIFT)


class DriftPlace(Schema):
    environment: str
    deployment: str = Field(description="Full name; it differs only where both have the same alias.")


class DriftSince(Schema):
    at: datetime
    is_exact: bool = Field(description="Whether it began then; false: then or earlier.")
    changed_in: str | None = Field(description="Environment whose change began it; null if that is not known.")

    @classmethod
    def of(cls, since: Since, changed_in: str | None) -> DriftSince:
        return cls(at=since.at, is_exact=since.is_exact, changed_in=changed_in)


class DriftRow(paging.Row):
    id: int
    left: DriftPlace
    right: DriftPlace
    differs_in: list[Difference]
    since: dict[Difference, DriftSince] = Field(description="When each difference began.")
    changed_at: datetime = Field(description="When the newest of them began.")
    url: str

    @classmethod
    def of(cls, row: Drift) -> DriftRow:
        slugs = {"left": row.left_environment.slug, "right": row.right_environment.slug}
        since = {kind: Since.read(stored) for kind, stored in row.since.items()}
        return cls(
            id=row.pk,
            left=DriftPlace(environment=slugs["left"], deployment=row.left_name),
            right=DriftPlace(environment=slugs["right"], deployment=row.right_name),
            differs_in=cast("list[Difference]", row.kinds),
            since={cast("Difference", kind): DriftSince.of(each, slugs.get(each.side)) for kind, each in since.items()},
            changed_at=row.changed_at,
            url=link("flows_deployment_drift", row.left_id),
        )


class ComparedValue(Schema):
    value: Any = Field(description="Secrets are masked; null where it is hidden.")
    is_hidden: bool = Field(description="Whether the token lacks the permission to view it.")
    differs: bool = Field(description="Whether it differs from the deployment that was asked for.")
    since: DriftSince | None = Field(description="Null if it does not differ, or only since the last comparison.")


class ComparedDeployment(DriftPlace):
    id: str = Field(description="Prefect's id.")
    values: dict[Difference, ComparedValue]


class DriftMatrix(Schema):
    deployment: ComparedDeployment
    others: list[ComparedDeployment] = Field(description="Those that you see, in the order of their environments.")
    differs_in: list[Difference]

    @classmethod
    def of(cls, found: Matrix) -> DriftMatrix:
        return cls(
            deployment=compared(found.first, {}),
            others=[compared(other, other.differing) for other in found.others],
            differs_in=[cast("Difference", kind.value) for kind in found.differing()],
        )


def compared(column: Column | Other, differing: Any) -> ComparedDeployment:
    return ComparedDeployment(
        environment=column.deployment.environment.slug,
        deployment=column.deployment.full_name,
        id=str(column.deployment.prefect_id),
        values={
            cast("Difference", kind.value): ComparedValue(
                value=None if kind in column.hidden else value,
                is_hidden=kind in column.hidden,
                differs=kind in differing,
                since=since_of(differing.get(kind)),
            )
            for kind, value in column.values.items()
        },
    )


def since_of(beginning: Beginning | None) -> DriftSince | None:
    if beginning is None:
        return None
    return DriftSince.of(beginning.since, beginning.changed_in.slug if beginning.changed_in else None)


@router.get("/drift", response={200: paging.page_of(DriftRow), **PROBLEMS}, summary="List environment drift")
def list_drift(request: HttpRequest, query: Query[DriftFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List deployments that differ between two environments, those that began to differ last first."""
    return paging.answer(request, DRIFT, query, DriftRow, DriftRow.of)


@router.get(
    f"{DEPLOYMENT}/drift",
    response={200: DriftMatrix, **PROBLEMS},
    summary="Compare a deployment with the same one in other environments",
)
def read_drift(request: HttpRequest, environment: str, deployment: Reference) -> DriftMatrix:
    by = actor_of(request)
    return DriftMatrix.of(matrix(deployment_of(by, environment, deployment), Permissions.of(by)))
