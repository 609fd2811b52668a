"""Routes of flows: through the deployments that the caller sees."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from urllib.parse import quote

from django.contrib.admin.utils import quote as admin_quote
from django.http import HttpRequest, HttpResponse
from ninja import Field, Query, Router

from portal.api import paging
from portal.api.catalog_routes import actor_of, one
from portal.api.catalog_schemas import link
from portal.api.problems import PROBLEMS
from runs.access.decisions import Permissions
from runs.flow_listings import FLOWS, FlowPlace, summarize
from runs.run_trends import StateCounts

router = Router(tags=["Environments and deployments"])
FlowFilters = paging.filters_of(FLOWS)


class FlowNumbers(paging.Row):
    """How the runs of its deployments ended in the last 30 days, by day of UTC."""

    completed: int
    failed: int = Field(description="Crashed ones too.")
    cancelled: int
    success_rate: float | None = Field(description="Completed among completed and failed, 0 to 1; null without any.")


def numbers_of(counts: StateCounts) -> dict[str, Any]:
    return {
        "completed": counts.completed,
        "failed": counts.failed,
        "cancelled": counts.counts["CANCELLED"],
        "success_rate": counts.success_rate,
    }


class FlowPlacePart(FlowNumbers):
    environment: str
    deployments: int = Field(description="Those that you see; /deployments?flow= lists them.")

    @classmethod
    def of(cls, place: FlowPlace) -> FlowPlacePart:
        return cls(environment=place.environment.slug, deployments=place.deployments, **numbers_of(place))


class FlowRow(FlowNumbers):
    name: str = Field(examples=["etl"])
    environments: list[FlowPlacePart]
    last_run_at: datetime | None = Field(description="When its last run ended, or started; subflow runs count too.")
    last_run_state: str | None = Field(description="State type of it.", examples=["COMPLETED"])
    url: str

    @classmethod
    def of(cls, row: Any) -> FlowRow:
        summary = row.summary
        last = summary.last_run or {}
        return cls(
            name=row.flow_name,
            environments=[FlowPlacePart.of(place) for place in summary.places],
            **numbers_of(summary.total),
            last_run_at=last.get("ended_at") or last.get("started_at") or last.get("created_at"),
            last_run_state=last.get("state_type"),
            url=link("flows_flow_change", quote(admin_quote(row.flow_name), safe="")),
        )


@router.get("/flows", response={200: paging.page_of(FlowRow), **PROBLEMS}, summary="List flows")
def list_flows(request: HttpRequest, query: Query[FlowFilters]) -> HttpResponse:  # type: ignore[valid-type]
    """List the flows of which you see a deployment, by name."""
    return paging.answer(request, FLOWS, query, FlowRow, FlowRow.of)


@router.get("/flows/{flow}", response={200: FlowRow, **PROBLEMS}, summary="Read a flow")
def read_flow(request: HttpRequest, flow: str) -> FlowRow:
    by = actor_of(request)
    permissions = Permissions.of(by)
    (row,) = summarize([one(FLOWS.rows(by, permissions=permissions), "flow", flow_name=flow)], permissions)
    return FlowRow.of(row)
