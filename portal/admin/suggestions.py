"""Names that forms suggest, from the deployments that the reader may see."""

from __future__ import annotations

from django.http import HttpRequest

from portal.auth.request_user import permissions_of

# Names in each list; browsers become slow with thousands.
MOST_SUGGESTIONS = 500


def deployment_names(request: HttpRequest) -> dict[str, list[str]]:
    """Return the flows, deployments and tags that the fields of a selector suggest, each under its template name."""
    rows = list(
        permissions_of(request)
        .deployments()
        .filter(deleted_upstream_at=None)
        .values_list("flow_name", "full_name", "tags")
        .order_by("full_name")[:MOST_SUGGESTIONS]
    )
    return {
        "flow_names": sorted({flow_name for flow_name, _, _ in rows}),
        "full_names": sorted({full_name for _, full_name, _ in rows}),
        "tags": sorted({tag for _, _, tags in rows for tag in tags}),
    }
