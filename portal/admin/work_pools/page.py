"""Context of the page of a work pool; everything is read from Postgres, nothing from Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.utils import timezone

from flows.models import WorkPool, WorkQueue
from portal.admin import limit_form
from portal.admin.deployments.list import Workforce
from portal.auth.request_user import permissions_of
from portal.ui import freshness, tables
from portal.ui.run_links import Count, list_url, runs_url
from portal.ui.text import unwrap
from runs.access.decisions import Permissions
from runs.models import Action, Run, Verb
from runs.work_pools import TAKEN, Depth, Place, depth_of, depths

WAITING_RUNS, DEPLOYMENTS = 10, 20


@dataclass(frozen=True, slots=True)
class Worker:
    name: str
    is_online: bool
    heartbeat: datetime | None

    @property
    def tone(self) -> str:
        return "green" if self.is_online else "grey"


@dataclass(frozen=True, slots=True)
class Badge:
    """What `_state.html` shows."""

    state_label: str
    state_colour: str


@dataclass(frozen=True, slots=True)
class QueueRow:
    queue: WorkQueue
    badge: Badge
    counts: list[Count]
    requested: list[Action]

    @property
    def key(self) -> str:
        return str(self.queue.pk)


def workers(pool: WorkPool | None) -> list[Worker]:
    """Return the workers that the last sync found, those online first."""
    found = pool.workers if pool else []
    return [
        Worker(
            worker["name"],
            bool(worker["is_online"]),
            datetime.fromisoformat(worker["last_heartbeat"]) if worker["last_heartbeat"] else None,
        )
        for worker in sorted(found, key=lambda worker: (not worker["is_online"], worker["name"]))
    ]


def badge_of(pool: WorkPool) -> Badge:
    if pool.is_paused:
        return Badge("Paused", "amber")
    if pool.needs_worker and not pool.workers_online:
        return Badge("No worker online", "amber")
    return Badge("Ready", "green")


def queue_badge(queue: WorkQueue) -> Badge:
    if queue.is_paused:
        return Badge("Paused", "amber")
    return Badge("Ready", "green") if queue.status == "READY" else Badge("Not polled", "grey")


def counts_of(pool: WorkPool, depth: Depth, *, queue: str = "") -> list[Count]:
    """Return the runs that wait, are late, and are taken, each with the list of exactly these runs."""
    where = {"environment": pool.environment.slug, "pool": pool.name, "queue": queue or None}
    key = f"{pool.name}/{queue}" if queue else pool.name
    return [
        Count(
            f"{key} waiting", depth.waiting, runs_url(**where, state="SCHEDULED", starts_to=timezone.now().isoformat())
        ),
        Count(f"{key} late", depth.late, runs_url(**where, stalled="late")),
        Count(f"{key} taken", depth.taken, runs_url(**where, state=TAKEN)),
    ]


def queue_rows(pool: WorkPool, found: dict[Place, Depth]) -> list[QueueRow]:
    queues = list(WorkQueue.current.filter(pool=pool))
    requested = limit_form.open_requests_of(queues)
    return [
        QueueRow(
            queue,
            queue_badge(queue),
            counts_of(pool, found.get((pool.environment_id, pool.name, queue.name), Depth()), queue=queue.name),
            requested[queue.pk],
        )
        for queue in queues
    ]


def context(request: HttpRequest, pool: WorkPool) -> dict[str, Any]:
    """Build the template context; select the environment and its health with the pool."""
    permissions = permissions_of(request)
    found = depths([pool], permissions)
    deployments = permissions.deployments().filter(
        environment=pool.environment_id, work_pool_name=pool.name, deleted_upstream_at=None
    )
    names = list(deployments.order_by("full_name").only("full_name", "environment")[: DEPLOYMENTS + 1])
    return {
        "pool": pool,
        "badge": badge_of(pool),
        "description": unwrap(pool.description),
        "freshness": freshness.freshness_of([pool.environment], "deployments"),
        "workforce": Workforce.of(pool.name, vars(pool)),
        "counts": counts_of(pool, depth_of(pool, found)),
        "queues": queue_rows(pool, found),
        "requested": limit_form.open_requests(pool),
        **limit_form.context(permissions, pool),
        "workers": workers(pool),
        "waiting": tables.RunTable(waiting_runs(pool, permissions)),
        "deployments": names[:DEPLOYMENTS],
        "has_more_deployments": len(names) > DEPLOYMENTS,
        "deployments_url": list_url("flows_deployment", environment=pool.environment.slug, pool=pool.name),
    }


def waiting_runs(pool: WorkPool, permissions: Permissions) -> list[Run]:
    """Return the runs that have waited for a worker the longest."""
    due = Run.objects.filter(
        permissions.q(Verb.SEE, deployment="access_deployment__"),
        environment=pool.environment_id,
        work_pool_name=pool.name,
        state_type="SCHEDULED",
        expected_start_at__lte=timezone.now(),
        deleted_upstream_at=None,
    )
    return list(due.order_by("expected_start_at", "pk")[:WAITING_RUNS])
