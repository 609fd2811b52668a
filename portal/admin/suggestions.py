"""Names that forms suggest, from the deployments that the reader may see."""

from __future__ import annotations

from typing import Any

from django.db.models import CharField, F, Func, QuerySet
from django.http import HttpRequest

from flows.models import Deployment, Environment
from portal.auth.request_user import permissions_of

# Names in each list; browsers become slow with thousands.
MOST_SUGGESTIONS = 500


def deployment_names(request: HttpRequest) -> dict[str, list[str]]:
    """Return the flows, deployments and tags that the fields of a selector suggest, each under its template name."""
    rows = list(
        deployed(request).values_list("flow_name", "full_name", "tags").order_by("full_name")[:MOST_SUGGESTIONS]
    )
    return {
        "flow_names": sorted({flow_name for flow_name, _, _ in rows}),
        "full_names": sorted({full_name for _, full_name, _ in rows}),
        "tags": sorted({tag for _, _, tags in rows for tag in tags}),
    }


def deployed(request: HttpRequest) -> QuerySet[Deployment]:
    return permissions_of(request).deployments().filter(deleted_upstream_at=None).order_by()


def matching_names(
    request: HttpRequest,
    *,
    environment: Environment | None = None,
    flow_name: str = "",
    full_name: str = "",
    tag: str = "",
) -> dict[str, list[str]]:
    """Return the same while something is typed, in several queries, so that none of many names is left out.

    Each list has the names that contain what is typed in its own field, of the environment and the flow that are typed.
    """
    rows = deployed(request)
    if environment:
        rows = rows.filter(environment=environment)
    flows = rows.filter(flow_name__icontains=flow_name) if flow_name else rows
    # A flow that is typed only half narrows nothing yet.
    of_flow = rows.filter(flow_name=flow_name) if flow_name and rows.filter(flow_name=flow_name).exists() else rows
    names = of_flow.filter(full_name__icontains=full_name) if full_name else of_flow
    each_tag = of_flow.annotate(one=Func(F("tags"), function="unnest", output_field=CharField()))
    return {
        "flow_names": list(distinct(flows, "flow_name")[:MOST_SUGGESTIONS]),
        "full_names": list(distinct(names, "full_name")[:MOST_SUGGESTIONS]),
        "tags": [each for each in distinct(each_tag, "one") if tag.lower() in each.lower()][:MOST_SUGGESTIONS],
    }


def distinct(rows: QuerySet[Deployment], column: str) -> QuerySet[Any, str]:
    return rows.order_by(column).values_list(column, flat=True).distinct()
