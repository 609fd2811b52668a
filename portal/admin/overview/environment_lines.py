"""The environments, one line each: their status, workers, and whether runs are held."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, Subquery, Value
from django.utils import timezone

from flows.models import Environment, WorkPool
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


def read_environments(
    permissions: Permissions, facts: Mapping[str, Exists | Subquery], *, with_hidden: bool
) -> list[Environment]:
    """Return the visible environments, or all, with what `tiles` and the alarms need and the `facts`, in one query.

    `is_visible` says of each whether the reader sees it.
    """
    visible = permissions.environments()
    rows = Environment.objects.all() if with_hidden else visible
    is_visible = Exists(visible.filter(pk=OuterRef("pk"))) if with_hidden else Value(True)
    return list(
        with_alarms(rows.select_related("server__health")).annotate(
            is_visible=is_visible,
            has_deployments=Exists(
                permissions.deployments().filter(environment=OuterRef("pk"), deleted_upstream_at=None)
            ),
            # For `alarms`; the same in each row, so that the page needs no further query.
            mute_approvers=notifications.mute_approvers() if permissions.is_administrator else Value(0),
            pools=ArraySubquery(WorkPool.current.filter(environment=OuterRef("pk")).order_by().values("workers")),
            **facts,
        )
    )


def tiles(environments: Sequence[Environment]) -> list[Tile]:
    """Return a tile for each of the environments from `read_environments`, in as many queries for any number."""
    windows = calendar.statuses(environments, timezone.now())
    return [
        Tile(
            status_of(environment),
            windows=windows[environment.pk],
            pools=len(environment.pools),  # type: ignore[attr-defined]  # annotated
            workers=online(environment.pools),  # type: ignore[attr-defined]  # annotated
            empty="" if environment.has_deployments else how_to_deploy(environment),  # type: ignore[attr-defined]  # annotated
        )
        for environment in environments
    ]


def online(pools: Sequence[Any]) -> int:
    """Return how many workers are online, of what the last sync found in each pool."""
    return sum(WorkPool(workers=workers).workers_online for workers in pools)
