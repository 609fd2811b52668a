"""Work pools as an actor sees them, and how many runs wait and go on in them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import Count, Exists, OuterRef, Prefetch, Q
from django.utils import timezone

from flows.models import WorkPool, WorkQueue
from runs import list_filters
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.listing import Filter, Listing
from runs.models import Run, Stall, Verb

# The state types of runs that a worker has picked up; they hold a slot of the pool's limit.
TAKEN = ("PENDING", "RUNNING", "CANCELLING")


@dataclass(frozen=True, slots=True)
class Depth:
    """Runs that are due and wait for a worker, how many of them are late, and runs that a worker has picked up."""

    waiting: int = 0
    late: int = 0
    taken: int = 0

    def __add__(self, other: Depth) -> Depth:
        return Depth(self.waiting + other.waiting, self.late + other.late, self.taken + other.taken)


# (key of the environment, name of the pool, name of the queue)
type Place = tuple[int, str, str]


def sees_pool(by: Actor, permissions: Permissions) -> Q:
    """Return the condition for the pools of which the actor sees a deployment, or the whole environment."""
    deployments = permissions.deployments().filter(
        environment=OuterRef("environment"), work_pool_name=OuterRef("name"), deleted_upstream_at=None
    )
    whole = permissions.whole_environments(Verb.SEE)
    return Q(deleted_upstream_at=None) & (Q(Exists(deployments.order_by())) | whole)


WORK_POOLS = Listing(
    "work_pools",
    WorkPool,
    sees_pool,
    ("name", "pk"),
    {
        "environment": Filter(list_filters.in_environment, str, "Name of the environment."),
        "name": Filter("name", str, "Name of the pool."),
        "type": Filter("type", str, "Type, such as process or kubernetes."),
        "paused": Filter("is_paused", bool, "Whether it is paused."),
    },
    related=("environment__server",),
    prefetched=(Prefetch("queues", WorkQueue.current.all()),),
    deferred=("variables",),
)


def depths(pools: Iterable[WorkPool], permissions: Permissions) -> dict[Place, Depth]:
    """Return how many of the runs that the reader sees wait and go on, by queue; one query, nothing for an idle one."""
    places = [(pool.environment_id, pool.name) for pool in pools]
    if not places:
        return {}
    is_waiting = Q(state_type="SCHEDULED", expected_start_at__lte=timezone.now())
    rows = (
        Run.objects.filter(
            permissions.q(Verb.SEE, deployment="access_deployment__"),
            is_waiting | Q(state_type__in=TAKEN),
            environment__in={environment for environment, _ in places},
            work_pool_name__in={name for _, name in places},
            deleted_upstream_at=None,
        )
        .order_by()
        .values_list("environment", "work_pool_name", "work_queue_name")
        .annotate(
            waiting=Count("pk", filter=is_waiting),
            late=Count("pk", filter=is_waiting & Q(stalled_kind=Stall.LATE)),
            taken=Count("pk", filter=Q(state_type__in=TAKEN)),
        )
    )
    return {
        (environment, pool, queue): Depth(waiting, late, taken)
        for environment, pool, queue, waiting, late, taken in rows
    }


def depth_of(pool: WorkPool, found: dict[Place, Depth]) -> Depth:
    """Return the numbers of all queues of a pool together."""
    of_queues = [each for (pk, name, _), each in found.items() if (pk, name) == (pool.environment_id, pool.name)]
    return sum(of_queues, Depth())
