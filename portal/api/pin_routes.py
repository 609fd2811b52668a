"""Routes of pins: the deployments that the caller wants to find first."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router

from portal.api import paging
from portal.api.catalog_routes import DEPLOYMENT, Reference, actor_of, deployment_of
from portal.api.catalog_schemas import DeploymentRow
from portal.api.idempotency import idempotent
from portal.api.problems import PROBLEMS
from runs import pins

router = Router(tags=["Environments and deployments"])
PinFilters = paging.filters_of(pins.PINS)


@router.get("/pins", response={200: paging.page_of(DeploymentRow), **PROBLEMS}, summary="List pinned deployments")
def list_pins(request: HttpRequest, query: Query[PinFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List the deployments that you have pinned, as far as you see them."""
    return paging.answer(request, pins.PINS, query, DeploymentRow, DeploymentRow.of)


@router.post(f"{DEPLOYMENT}/pin", response={200: DeploymentRow, **PROBLEMS}, summary="Pin a deployment")
@idempotent
def pin_deployment(request: HttpRequest, environment: str, deployment: Reference) -> DeploymentRow:
    """Pin a deployment for yourself; one that is pinned stays so."""
    by = actor_of(request)
    found = deployment_of(by, environment, deployment)
    pins.pin(found, by=by)
    return DeploymentRow.of(found)


@router.post(f"{DEPLOYMENT}/unpin", response={200: DeploymentRow, **PROBLEMS}, summary="Unpin a deployment")
@idempotent
def unpin_deployment(request: HttpRequest, environment: str, deployment: Reference) -> DeploymentRow:
    by = actor_of(request)
    found = deployment_of(by, environment, deployment)
    pins.unpin(found, by=by)
    return DeploymentRow.of(found)
