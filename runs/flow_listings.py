"""Flows as an actor sees them: through the deployments that they see, with the numbers of these alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import JSONObject

from flows.models import Environment, Flow
from runs import list_filters
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.models import DeploymentDayCount, Run, Verb
from runs.run_trends import StateCounts

# How far back runs are counted.
DAYS = 30


@dataclass(slots=True)
class FlowPlace(StateCounts):
    """A flow in one environment: its deployments, and how their runs of the last `DAYS` days ended."""

    environment: Environment
    deployments: int = 0


@dataclass(slots=True)
class FlowSummary:
    """What lists show of a flow. `last_run` has key, state and times, None before the first run."""

    places: list[FlowPlace] = field(default_factory=list)
    last_run: dict[str, Any] | None = None

    @property
    def deployments(self) -> int:
        return sum(place.deployments for place in self.places)

    @property
    def total(self) -> StateCounts:
        return StateCounts(counts=sum((place.counts for place in self.places), Counter()))


def sees_flow(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the deployments through which the actor sees flows."""
    return permissions.q(Verb.SEE) & Q(deleted_upstream_at=None)


def summarize(rows: list[Flow], permissions: Permissions) -> list[Flow]:
    """Set `summary` on flows; three queries, whatever their number."""
    found = summaries([row.flow_name for row in rows], permissions)
    for row in rows:
        row.summary = found[row.flow_name]  # type: ignore[attr-defined]  # for those who list flows
    return rows


# A filter is about the deployments through which a flow is seen: of a hidden one it would tell that it exists.
FLOWS = Listing(
    "flows",
    Flow,
    sees_flow,
    ("flow_name",),
    {
        "environment": Filter(list_filters.in_environment, str, "Name of an environment it has a deployment in."),
        "tag": Filter("tags__contains", list[str], "A deployment of it has all these tags."),
        "search": Filter("flow_name__icontains", str, "Part of the name."),
    },
    distinct=("flow_name",),
    only=("flow_name",),
    keep=summarize,
)


def summaries(names: Sequence[str], permissions: Permissions) -> dict[str, FlowSummary]:
    """Return what the reader may know of the flows with these names."""
    found = {name: FlowSummary() for name in names}
    if not found:
        return found
    # 1. The deployments, by environment.
    visible = permissions.deployments().filter(flow_name__in=list(found), deleted_upstream_at=None).order_by()
    columns = ("environment", "environment__slug", "environment__is_protected", "environment__position")
    places: dict[tuple[str, int], FlowPlace] = {}
    for name, pk, slug, is_protected, position, number in (
        visible.values_list("flow_name", *columns)
        .annotate(number=Count("pk"))
        .order_by("environment__position", "environment")
    ):
        # Not saved: it only provides the tag of the environment.
        place = FlowPlace(Environment(pk=pk, slug=slug, is_protected=is_protected, position=position), number)
        places[name, pk] = place
        found[name].places.append(place)
    # 2. How their runs ended.
    since = (datetime.now(UTC) - timedelta(days=DAYS)).date()
    counted = (
        DeploymentDayCount.objects.order_by()
        .filter(permissions.q(Verb.SEE, deployment="access_deployment__"), deployment__in=visible.values("pk"))
        .filter(day__gt=since)
        .values_list("deployment__flow_name", "environment", "state_type")
        .annotate(total=Sum("number"))
    )
    for name, pk, state, total in counted:
        if (name, pk) in places:
            places[name, pk].counts[state] += total
    # 3. The last run of each, also as a subflow of another one.
    for name, last in last_runs(list(found), permissions):
        found[name].last_run = last
    return found


def last_runs(names: Sequence[str], permissions: Permissions) -> QuerySet[Flow, tuple[str, dict[str, Any] | None]]:
    """Return the names with their last run, in one query: an index finds it for each name."""
    runs = runs_of(OuterRef("flow_name"), permissions).exclude(state_type="SCHEDULED").order_by("-sort_at", "-pk")
    last = runs.values(
        found=JSONObject(
            pk="pk",
            state_type="state_type",
            state_name="state_name",
            created_at=F("created_upstream_at"),
            started_at="started_at",
            ended_at="ended_at",
        )
    )
    first = Flow.objects.filter(flow_name__in=names).order_by("flow_name").distinct("flow_name").values("pk")
    return Flow.objects.filter(pk__in=first).order_by().values_list("flow_name", Subquery(last[:1]))


def runs_of(name: Any, permissions: Permissions) -> QuerySet[Run]:
    """Return the runs of a flow that the reader sees, those as subflows of others too."""
    return Run.objects.filter(permissions.q(Verb.SEE, deployment="access_deployment__"), flow_name=name)
