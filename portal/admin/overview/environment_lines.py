"""The environments, one line each: their status, workers, and whether runs are held."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, Subquery, Value
from django.utils import timezone

from flows.models import WorkPool
from flows.wording import how_to_deploy, plural
from portal.admin.overview.overseen import with_alarms
from portal.ui import calendar
from portal.ui.environment_status import EnvironmentStatus, status_of
from runs import notifications
from runs.access.decisions import Permissions


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


def tiles(permissions: Permissions, facts: Mapping[str, Exists | Subquery]) -> list[Tile]:
    """Return a tile for each visible environment, which comes with the `facts`, in as many queries for any number."""
    environments = with_alarms(permissions.environments().select_related("server__health")).annotate(
        has_deployments=Exists(permissions.deployments().filter(environment=OuterRef("pk"), deleted_upstream_at=None)),
        # For `alarms`; the same in each row, so that the page needs no further query.
        mute_approvers=notifications.mute_approvers() if permissions.is_administrator else Value(0),
        pools=ArraySubquery(WorkPool.current.filter(environment=OuterRef("pk")).order_by().values("workers")),
        **facts,
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
