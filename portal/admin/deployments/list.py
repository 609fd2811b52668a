"""The list of deployments: a single query reads the rows and everything they show."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.db.models import F, OuterRef, QuerySet, Subquery, Value
from django.db.models.functions import Coalesce, JSONObject
from django.http import HttpRequest
from django.urls import reverse

from flows.models import Alias, Deployment, Environment, WorkPool
from flows.wording import how_to_deploy, plural
from portal.admin.filters import EnvironmentFilter
from portal.auth.request_user import actor_of, permissions_of
from portal.lists.change_list import RestrictedList
from portal.ui import freshness
from runs import pins
from runs.access.decisions import Permissions, Target
from runs.governance import requirements
from runs.models import Run
from runs.shared_reads import shared_reads

# Columns that can be large and that no row shows.
DEFERRED = ("parameter_schema", "parameter_defaults", "job_variables", "definition", "description")


@dataclass(frozen=True, slots=True)
class LastRun:
    """The newest run that is not merely scheduled."""

    pk: int
    state_label: str
    state_colour: str
    at: datetime | None

    @classmethod
    def of(cls, found: dict[str, Any] | None) -> LastRun | None:
        if found is None:
            return None
        # Not saved: it only provides the label and the colour.
        run = Run(state_type=found["state_type"], state_name=found["state_name"])
        at = found["ended_at"] or found["started_at"] or found["created_at"]
        return cls(found["pk"], run.state_label, run.state_colour, datetime.fromisoformat(at) if at else None)


@dataclass(frozen=True, slots=True)
class Workforce:
    """The work pool of a deployment and whether its workers are online."""

    pool: str
    sentence: str
    colour: str

    @classmethod
    def of(cls, pool: str, found: dict[str, Any] | None) -> Workforce:
        if not pool:
            return cls("", "served by its own process", "grey")
        if found is None:
            return cls(pool, "work pool not found", "red")
        online = sum(bool(worker["is_online"]) for worker in found["workers"])
        if found["is_paused"]:
            return cls(pool, "paused", "amber")
        # Push and managed pools run on infrastructure of the provider: they have no workers to be online.
        if found["type"].endswith((":push", ":managed")):
            return cls(pool, "needs no worker", "green")
        if not online:
            return cls(pool, "no worker online", "amber")
        return cls(pool, f"{plural(online, 'worker')} online", "green")


def with_surroundings(deployments: QuerySet[Deployment]) -> QuerySet[Deployment]:
    """Annotate each deployment with its alias, work pool and last run."""
    pools = WorkPool.current.filter(environment=OuterRef("environment"), name=OuterRef("work_pool_name"))
    # A subquery returns a single column, so each returns one JSON object.
    own = Run.objects.filter(deployment=OuterRef("pk"))
    # Asked for only where there is no own one: a deployment that was deleted and deployed again has its history.
    earlier = Run.objects.filter(
        deployment__environment=OuterRef("environment"), deployment__full_name=OuterRef("full_name")
    )
    return (
        deployments.select_related("environment__server__health")
        .defer(*DEFERRED)
        .annotate(
            alias=alias_of_row(),
            pool=Subquery(pools.values(found=JSONObject(workers="workers", is_paused="is_paused", type="type"))),
            last=Coalesce(last_of(own), last_of(earlier)),
        )
    )


def alias_of_row() -> Subquery:
    aliases = Alias.objects.filter(environment=OuterRef("environment"), full_name=OuterRef("full_name"))
    return Subquery(aliases.order_by("name").values("name")[:1])


def last_of(runs: QuerySet[Run]) -> Subquery:
    # Prefect creates scheduled runs up to 100 days ahead: they are not the last run.
    last = runs.exclude(state_type="SCHEDULED").order_by("-sort_at", "-pk")
    return Subquery(
        last.values(
            found=JSONObject(
                pk="pk",
                state_type="state_type",
                state_name="state_name",
                created_at=F("created_upstream_at"),
                started_at="started_at",
                ended_at="ended_at",
            )
        )[:1]
    )


def describe(deployment: Any) -> Any:
    """Set what a row shows, except for what depends on its reader."""
    deployment.may_run = None
    deployment.last_run = LastRun.of(deployment.last)
    deployment.workforce = Workforce.of(deployment.work_pool_name, deployment.pool)
    return deployment


def describe_for(permissions: Permissions, row: Any) -> None:
    """Set what a row offers to its reader: to run it, to request a run, or why they can do neither."""
    row.may_run = bool(is_runnable(row) and permissions.start(row))
    row.needs_approval = bool(requirements.requirements_for(Target.of(row)).stages)
    if is_runnable(row) and not row.may_run:
        row.why_link = f"{reverse('admin:runs_grant_why')}?deployment={row.pk}"


def describe_all_for(permissions: Permissions, rows: Iterable[Any]) -> None:
    """Set it on several rows, for which policies are read once."""
    rows = list(rows)
    if not rows:
        return
    with shared_reads():
        requirements.read_policies({row.environment for row in rows})
        for row in rows:
            describe_for(permissions, row)


def pinned_to(request: HttpRequest) -> QuerySet[Deployment]:
    """Return the deployments that the reader has pinned and sees, by name."""
    found = pins.PINS.rows(actor_of(request), permissions=permissions_of(request))
    return with_surroundings(found).annotate(is_pinned=Value(True)).order_by("full_name", "environment__position", "pk")


def pinned_rows(request: HttpRequest) -> list[Any]:
    """Return the same with what their rows show."""
    rows = list(map(describe, pinned_to(request)))
    describe_all_for(permissions_of(request), rows)
    return rows


def rows_for_all(pks: Collection[int]) -> list[Any]:
    """Return rows for all who see them: whether the reader can run one is left to their page."""
    return list(map(describe, with_surroundings(Deployment.objects.filter(pk__in=pks))))


@dataclass(frozen=True, slots=True)
class Empty:
    """Why the list is empty, and what to do about it."""

    title: str
    causes: list[str] = field(default_factory=list)
    may_add: bool = False


class DeploymentList(RestrictedList):
    """Adds to each row whether the user can run it, from the grants that were read for the page."""

    # Its rows also have what sends no events, such as workers: the page requests itself again as often as others.
    are_rows_partial = True

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Deployment]:
        return with_surroundings(super().get_queryset(request, exclude_parameters))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list: list[Any] = list(map(describe, self.result_list))
        # A search and a filter are for other rows.
        is_narrowed = bool(self.query or self.has_active_filters)
        self.pinned: list[Any] = [] if is_narrowed else list(map(describe, pinned_to(request)))
        describe_all_for(permissions_of(request), [*self.result_list, *self.pinned])
        self.freshness = freshness.freshness_of_all(request, "deployments")
        if not self.result_list:
            self.empty = self.why_nothing(request)

    @property
    def live_rows(self) -> str:
        """What the stream of changes is asked for: rows of this page whose last run changed."""
        return urlencode({"list": "deployments", "shows": ""})

    def why_nothing(self, request: HttpRequest) -> Empty | None:
        """Return why there are no deployments; None if there are some, and a search or filter hides them."""
        chosen = self.params.get(EnvironmentFilter.parameter_name, "")
        places = [one for one in self.freshness if chosen in ("", one.environment.slug)]
        if self.query or self.has_active_filters:
            slugs = [one.environment.slug for one in places]
            found = permissions_of(request).deployments().filter(environment__slug__in=slugs, deleted_upstream_at=None)
            if not slugs or found.exists():
                return None
        return why_empty(request, [one.environment for one in places], places)


def is_runnable(deployment: Deployment) -> bool:
    """Whether anyone could run it now: it is deployed and in its scope, and its environment is enabled."""
    is_there = deployment.deleted_upstream_at is None and deployment.left_scope_at is None
    return is_there and deployment.environment.is_active


def why_empty(request: HttpRequest, environments: list[Environment], state: list[freshness.Freshness]) -> Empty:
    """Name the possible causes, an environment that cannot be read first."""
    if not environments:
        if request.user.has_perm("flows.add_environment"):
            return Empty(
                "No Prefect server connected", ["Add an environment with its API address and credential."], True
            )
        return Empty("You have no access to any environment", ["Ask an administrator for a grant."])
    names = ", ".join(map(str, environments))
    causes = [
        *(how_to_deploy(environment) for environment in environments),
        f"They are deployed to another server. You can see {names}: deploy with PREFECT_API_URL set to the API address "
        "of one of these.",
        "You have no access to them. Ask an administrator for a grant, and name the flow.",
    ]
    # An environment that cannot be read is the likeliest cause, so it comes first.
    troubled = [one for one in state if one.is_trouble]
    if troubled:
        causes.insert(0, f"{troubled[0].sentence} {troubled[0].advice}".strip())
    return Empty("No deployments to show", causes)
