"""Whether runs can start, and when change windows open."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from django.http import HttpRequest
from ninja import Field, Query, Router, Schema
from pydantic import AwareDatetime

from portal.api.catalog_routes import actor_of, deployment_of
from portal.api.problems import PROBLEMS
from portal.api.rule_schemas import Selection, selection
from runs import names
from runs.governance.opening_hours import Hours, opening

router = Router(tags=["Rules and audit"])


class WindowHours(Selection):
    """A change window, and whether it is open."""

    id: int
    name: str
    effect: str
    cron: str
    time_zone: str
    minutes: int
    is_open: bool
    changes_at: datetime | None = Field(description="When it opens or closes next; null when that is not known.")

    @classmethod
    def of(cls, row: Hours) -> WindowHours:
        window = row.window
        return cls(
            id=window.pk,
            name=window.name,
            effect=window.effect,
            cron=window.cron,
            time_zone=window.time_zone,
            minutes=window.minutes,
            is_open=row.is_open,
            changes_at=row.changes_at,
            **selection(window),
        )


class Standing(Schema):
    environment: str
    deployment: str | None = Field(description="Full name; null for all without narrower windows.")
    is_open: bool = Field(description="Whether runs can start then.")
    why: str = Field(description="Why not; empty when they can.")
    opens_at: datetime | None = Field(description="When they can; null when they can, or when that is not known.")
    freeze: str | None = Field(description="Reason of the freeze of the environment; null without one.")
    windows: list[WindowHours] = Field(description="The change windows that count, as far as you can see them.")


@router.get(
    "/environments/{environment}/standing",
    response={200: Standing, **PROBLEMS},
    summary="Whether runs can start, and when change windows open",
)
def read_standing(
    request: HttpRequest,
    environment: str,
    deployment: Annotated[
        str, Query(max_length=601, description="Only for this deployment, by any of its names.")
    ] = "",
    at: Annotated[AwareDatetime | None, Query(description="At this time; null for now.")] = None,
) -> Standing:
    by = actor_of(request)
    place = names.environment(environment, by=by)
    row = deployment_of(by, environment, deployment) if deployment else None
    found = opening(place, row, by=by, at=at)
    return Standing(
        environment=place.slug,
        deployment=row.full_name if row else None,
        is_open=found.standing.is_open,
        why=found.standing.sentence,
        opens_at=found.standing.opens_at,
        freeze=found.freeze.reason if found.freeze else None,
        windows=[WindowHours.of(each) for each in found.hours],
    )
