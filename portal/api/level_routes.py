"""Routes of service levels and their breaches."""

from __future__ import annotations

from datetime import datetime
from typing import Literal, cast
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router, Schema, Status

from portal.api import paging
from portal.api.bodies import body
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from runs import levels, names
from runs.models import Breach, ServiceLevel

router = Router(tags=["Service levels"])
# A name of its own: the description of the API has one component for each name, and other rows have kinds too.
LevelKind = Literal["late", "long", "unusual", "silent", "failing"]
LevelFilters = paging.filters_of(levels.LEVELS)
BreachFilters = paging.filters_of(levels.BREACHES)


class LevelRow(paging.Row):
    id: int
    environment: str
    deployment: str = Field(description="Full name of the deployment that it is about; empty for all.")
    tag: str = Field(description="Only deployments with this tag; empty for any.")
    kind: LevelKind
    threshold: float = Field(
        description="late, long: minutes; unusual: times the p95; silent: hours; failing: percent."
    )
    days: int = Field(description="Of failing: of the runs of so many days. Else 0.")
    sentence: str = Field(description="When it is breached, in words.")
    owner: str
    runbook: str
    created_at: datetime
    created_by: str
    removed_at: datetime | None
    url: str

    @classmethod
    def of(cls, row: ServiceLevel) -> LevelRow:
        return cls(
            id=row.pk,
            environment=row.environment.slug,
            deployment=row.full_name,
            tag=row.tag,
            kind=cast("LevelKind", row.kind),
            threshold=row.threshold,
            days=row.days,
            sentence=row.sentence,
            owner=row.owner.get_username() if row.owner else "",
            runbook=row.runbook,
            created_at=row.created_at,
            created_by=row.created_by_name,
            removed_at=row.removed_at,
            url=link("runs_servicelevel_change", row.pk),
        )


class BreachRow(paging.Row):
    id: int
    level: int = Field(description="Number of the service level.")
    sentence: str
    environment: str
    deployment: str
    deployment_id: UUID = Field(description="Prefect's id of the deployment.")
    value: float = Field(description="When it was opened, in the unit of the threshold.")
    opened_at: datetime
    cleared_at: datetime | None
    runbook: str

    @classmethod
    def of(cls, row: Breach) -> BreachRow:
        return cls(
            id=row.pk,
            level=row.level_id,
            sentence=row.level.sentence,
            environment=row.deployment.environment.slug,
            deployment=row.deployment.full_name,
            deployment_id=row.deployment.prefect_id,
            value=row.value,
            opened_at=row.opened_at,
            cleared_at=row.cleared_at,
            runbook=row.level.runbook,
        )


class NewLevel(Schema):
    model_config = body(environment="prod", deployment="monthly/monthly", kind="late", threshold=10, owner="otto")

    environment: str = Field(max_length=40)
    kind: LevelKind
    threshold: float = Field(description="In the unit of its kind: minutes, times, hours or percent.")
    days: int = Field(0, ge=0, le=levels.MOST_DAYS, description="Only for failing.")
    deployment: str = Field("", max_length=601, description="Full name; empty for all deployments.")
    tag: str = Field("", max_length=300)
    owner: str = Field("", max_length=150, description="User name; empty for no owner.")
    runbook: str = Field("", max_length=500, description="An https or http address.")


class Removal(Schema):
    model_config = body(reason="Replaced by a stricter one")

    reason: str = Field("", max_length=1000)


@router.get("/service-levels", response={200: paging.page_of(LevelRow), **PROBLEMS}, summary="List service levels")
def list_levels(request: HttpRequest, query: Query[LevelFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, levels.LEVELS, query, LevelRow, LevelRow.of)


@router.get("/breaches", response={200: paging.page_of(BreachRow), **PROBLEMS}, summary="List breaches")
def list_breaches(request: HttpRequest, query: Query[BreachFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List where service levels do not hold, or did not, the newest first."""
    return paging.answer(request, levels.BREACHES, query, BreachRow, BreachRow.of)


@router.post("/service-levels", response={201: LevelRow, **PROBLEMS}, summary="Create a service level")
@idempotent
def create_level(request: HttpRequest, payload: NewLevel) -> Status[LevelRow]:
    """It is evaluated every minute. To change one, remove it and create another."""
    by = actor_of(request)
    made = levels.create(
        names.environment(payload.environment, by=by),
        by=by,
        kind=payload.kind,
        threshold=payload.threshold,
        days=payload.days,
        full_name=payload.deployment,
        tag=payload.tag,
        owner=names.user(payload.owner) if payload.owner else None,
        runbook=payload.runbook,
    )
    return Status(201, LevelRow.of(one(levels.LEVELS.rows(by), "service level", pk=made.pk)))


@router.post("/service-levels/{number}/remove", response={200: LevelRow, **PROBLEMS}, summary="Remove a service level")
@idempotent
def remove_level(request: HttpRequest, number: int, payload: Removal) -> LevelRow:
    """Its open breaches are cleared; its history stays."""
    by = actor_of(request)
    found = one(levels.LEVELS.rows(by), "service level", pk=number)
    return LevelRow.of(levels.remove(found, by=by, reason=payload.reason))
