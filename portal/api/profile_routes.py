"""Routes of resource profiles: administrators create and remove them on the pages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router

from portal.api import paging
from portal.api.catalog_routes import DEPLOYMENT, Reference, actor_of, deployment_of
from portal.api.catalog_schemas import link
from portal.api.problems import PROBLEMS
from runs import requests
from runs.models import ResourceProfile
from runs.requests.profile_listings import RESOURCE_PROFILES

router = Router(tags=["Resource profiles"])
ProfileFilters = paging.filters_of(RESOURCE_PROFILES)


class ProfileRow(paging.Row):
    id: int
    environment: str
    name: str
    description: str
    pool: str = Field(description="The work pool whose runs can have it; empty for all of a type.")
    type: str = Field(description="The type of the work pools whose runs can have it; empty for one pool.")
    work_queue: str = Field(description="The queue that the runs go to; empty for that of the deployment.")
    job_variables: dict[str, Any] = Field(description="They replace those of the deployment.")
    groups: list[str] = Field(description="Whose members can choose it; empty for everyone.")
    allows_agents: bool
    created_at: datetime
    created_by: str
    removed_at: datetime | None
    url: str

    @classmethod
    def of(cls, row: ResourceProfile) -> ProfileRow:
        return cls(
            id=row.pk,
            environment=row.environment.slug,
            name=row.name,
            description=row.description,
            pool=row.pool_name,
            type=row.pool_type,
            work_queue=row.work_queue,
            job_variables=row.job_variables,
            groups=row.groups,
            allows_agents=row.allows_agents,
            created_at=row.created_at,
            created_by=row.created_by_name,
            removed_at=row.removed_at,
            url=link("runs_resourceprofile_change", row.pk),
        )


@router.get(
    "/resource-profiles", response={200: paging.page_of(ProfileRow), **PROBLEMS}, summary="List resource profiles"
)
def list_profiles(request: HttpRequest, query: Query[ProfileFilters]) -> HttpResponse:  # type: ignore[valid-type]
    return paging.answer(request, RESOURCE_PROFILES, query, ProfileRow, ProfileRow.of)


@router.get(
    f"{DEPLOYMENT}/resource-profiles",
    response={200: list[ProfileRow], **PROBLEMS},
    summary="List the resource profiles to choose from",
)
def offered_profiles(request: HttpRequest, environment: str, deployment: Reference) -> list[ProfileRow]:
    """List those with which you can request a run of this deployment."""
    by = actor_of(request)
    return [ProfileRow.of(row) for row in requests.offered_profiles(deployment_of(by, environment, deployment), by)]
