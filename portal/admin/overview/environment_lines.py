"""The environments, one line each: their status, workers, and whether runs are held."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Count, Exists, OuterRef, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from flows.models import UnassignedDeployment, WorkPool
from flows.wording import how_to_deploy, plural
from portal.ui import calendar
from portal.ui.environment_status import EnvironmentStatus, status_of
from runs.access.decisions import Permissions
from runs.models import Bypass


@dataclass(frozen=True, slots=True)
class Tile:
    """One environment: its status, work pools and workers, and whether runs are held."""

    status: EnvironmentStatus
    pools: int
    workers: int
    windows: calendar.EnvironmentWindows
    empty: str = ""  # how to deploy, where nothing is deployed

    @property
    def workers_label(self) -> str:
        if not self.workers:
            return "No workers online. Runs wait."
        return f"{plural(self.workers, 'worker')} online in {plural(self.pools, 'work pool')}"


def tiles(permissions: Permissions) -> list[Tile]:
    """Return a tile for each visible environment; the number of queries does not depend on how many there are."""
    open_ways = Bypass.objects.filter(environment=OuterRef("pk"), gone_at=None).order_by().values("environment")
    open_ways = open_ways.annotate(number=Count("pk"))
    unassigned = UnassignedDeployment.objects.filter(server=OuterRef("server")).order_by().values("server")
    unassigned = unassigned.annotate(number=Count("pk"))
    environments = (
        permissions.environments()
        .select_related("server__health")
        .annotate(
            has_deployments=Exists(
                permissions.deployments().filter(environment=OuterRef("pk"), deleted_upstream_at=None)
            ),
            # For `oversight`, which shows them to administrators.
            ways=Coalesce(Subquery(open_ways.values("number")), 0),
            # For `alarms`; of the server, which environments can share.
            unassigned=Coalesce(Subquery(unassigned.values("number")), 0),
            pools=ArraySubquery(WorkPool.current.filter(environment=OuterRef("pk")).order_by().values("workers")),
        )
    )
    windows = calendar.statuses(list(environments), timezone.now())
    return [
        Tile(
            status_of(environment),
            windows=windows[environment.pk],
            pools=len(environment.pools),
            workers=sum(WorkPool(workers=workers).workers_online for workers in environment.pools),
            empty="" if environment.has_deployments else how_to_deploy(environment),
        )
        for environment in environments
    ]
