"""Context of the page of a flow; everything is read from Postgres, nothing from Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest

from flows.models import Environment
from portal.admin.deployments.list import describe, describe_all_for, with_surroundings
from portal.auth.request_user import permissions_of
from portal.ui import freshness
from portal.ui.run_links import list_url, runs_url
from portal.ui.text import share, share_tone
from runs import flow_listings
from runs.run_trends import StateCounts

LAST_RUNS, DEPLOYMENTS = 15, 50


@dataclass(frozen=True, slots=True)
class Numbers:
    """How runs ended, as texts."""

    ended: int
    failed: int
    rate: str
    tone: str

    @classmethod
    def of(cls, counts: StateCounts) -> Numbers:
        rate = counts.success_rate
        return cls(counts.ended, counts.failed, share(rate), share_tone(rate))


@dataclass(frozen=True, slots=True)
class Place:
    """A flow in one environment, with the lists of its deployments and runs there."""

    environment: Environment
    deployments: int
    numbers: Numbers
    deployments_url: str
    runs_url: str


def context(request: HttpRequest, name: str) -> dict[str, Any]:
    """Build the template context of a flow of which the reader sees a deployment."""
    permissions = permissions_of(request)
    summary = flow_listings.summaries([name], permissions)[name]
    visible = permissions.deployments().filter(flow_name=name, deleted_upstream_at=None)
    rows = list(with_surroundings(visible).order_by("environment__position", "environment", "full_name")[:DEPLOYMENTS])
    deployments = list(map(describe, rows))
    describe_all_for(permissions, deployments)
    runs = flow_listings.runs_of(name, permissions).exclude(state_type="SCHEDULED").select_related("environment")
    return {
        "name": name,
        "days": flow_listings.DAYS,
        "numbers": Numbers.of(summary.total),
        "places": [
            Place(
                each.environment,
                each.deployments,
                Numbers.of(each),
                list_url("flows_deployment", environment=each.environment.slug, flow=name),
                runs_url(environment=each.environment.slug, flow=name),
            )
            for each in summary.places
        ],
        "deployments": deployments,
        "more_deployments": max(summary.deployments - len(deployments), 0),
        "deployments_url": list_url("flows_deployment", flow=name),
        "last_runs": list(runs.order_by("-sort_at", "-pk")[:LAST_RUNS]),
        "runs_url": runs_url(flow=name),
        "freshness": freshness.freshness_of(dict.fromkeys(row.environment for row in deployments), "deployments"),
    }
