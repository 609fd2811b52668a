"""Routes that pause, resume and limit work pools, their queues, and deployments."""

from __future__ import annotations

from typing import Any, Literal

from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from flows.models import WorkPool, WorkQueue
from portal.api.actions import Requested
from portal.api.bodies import body
from portal.api.catalog_routes import DEPLOYMENT, Reference, actor_of, deployment_of, one
from portal.api.idempotency import idempotent
from portal.api.pool_routes import POOL
from portal.api.pool_routes import router as pools
from portal.api.problems import PROBLEMS
from runs.actors import Actor
from runs.governance import limits
from runs.models import Action, ChangeRequest
from runs.work_pools import WORK_POOLS

# Those of pools and queues are on the router of pools: one address belongs to one router.
router = Router(tags=["Environments and deployments"])
QUEUE = f"{POOL}/queues/{{queue}}"
LIMIT = "Runs at a time; null is no limit. Left out, it stays."


class Consent(Schema):
    reason: str = Field("", max_length=1000)
    ticket: str = Field("", max_length=100)


class Confirmed(Consent):
    """In a protected environment more runs than before need its name, and the approval of an administrator."""

    confirm: str = Field("", max_length=500, description="Name of the protected environment.")


class Pause(Consent):
    model_config = body(reason="Nodes are drained")


class Resume(Confirmed):
    model_config = body(reason="Nodes are back")


class PoolLimits(Confirmed):
    model_config = body(concurrency_limit=4, reason="Fewer nodes")

    concurrency_limit: int | None = Field(None, ge=0, description=LIMIT)


class QueueLimits(PoolLimits):
    model_config = body(concurrency_limit=2, priority=1, reason="Month end first")

    priority: int | None = Field(None, ge=1, description="1 is taken first. Left out, it stays.")


class DeploymentLimits(Confirmed):
    model_config = body(concurrency_limit=1, collision_strategy="ENQUEUE", reason="Locks the table")

    concurrency_limit: int | None = Field(None, ge=1, description=LIMIT)
    collision_strategy: Literal["ENQUEUE", "CANCEL_NEW"] | None = Field(
        None, description="What becomes of runs beyond the limit. Left out, it stays."
    )


def pool_of(by: Actor, environment: str, name: str) -> WorkPool:
    return one(WORK_POOLS.rows(by, {"environment": environment}), "work pool", name=name)


def queue_of(by: Actor, environment: str, pool: str, name: str) -> WorkQueue:
    row = pool_of(by, environment, pool)
    found = one(WorkQueue.current.filter(pool=row), "work queue", name=name)
    found.pool = row
    return found


def consent(payload: Consent) -> dict[str, Any]:
    return payload.dict(include={"reason", "ticket", "confirm"})


def wanted(payload: Consent) -> dict[str, Any]:
    """Return the limits that the body names, also those that it sets to null."""
    return payload.dict(exclude_unset=True, exclude={"reason", "ticket", "confirm"})


def answered(made: Action | ChangeRequest) -> Status[Requested]:
    return Status(202, Requested.of(made))


@pools.post(f"{QUEUE}/pause", response={202: Requested, **PROBLEMS}, summary="Pause a work queue")
@idempotent
def pause_queue(request: HttpRequest, environment: str, pool: str, queue: str, payload: Pause) -> Status[Requested]:
    by = actor_of(request)
    return answered(limits.pause(queue_of(by, environment, pool, queue), by=by, **consent(payload)))


@pools.post(f"{QUEUE}/resume", response={202: Requested, **PROBLEMS}, summary="Resume a work queue")
@idempotent
def resume_queue(request: HttpRequest, environment: str, pool: str, queue: str, payload: Resume) -> Status[Requested]:
    by = actor_of(request)
    return answered(limits.resume(queue_of(by, environment, pool, queue), by=by, **consent(payload)))


@pools.patch(QUEUE, response={202: Requested, **PROBLEMS}, summary="Change limit and priority of a work queue")
@idempotent
def limit_queue(
    request: HttpRequest, environment: str, pool: str, queue: str, payload: QueueLimits
) -> Status[Requested]:
    by = actor_of(request)
    row = queue_of(by, environment, pool, queue)
    return answered(limits.set_limits(row, wanted(payload), by=by, **consent(payload)))


@pools.post(f"{POOL}/pause", response={202: Requested, **PROBLEMS}, summary="Pause a work pool")
@idempotent
def pause_pool(request: HttpRequest, environment: str, pool: str, payload: Pause) -> Status[Requested]:
    """Let workers pick up no more of its runs. Those that they have go on."""
    by = actor_of(request)
    return answered(limits.pause(pool_of(by, environment, pool), by=by, **consent(payload)))


@pools.post(f"{POOL}/resume", response={202: Requested, **PROBLEMS}, summary="Resume a work pool")
@idempotent
def resume_pool(request: HttpRequest, environment: str, pool: str, payload: Resume) -> Status[Requested]:
    by = actor_of(request)
    return answered(limits.resume(pool_of(by, environment, pool), by=by, **consent(payload)))


@pools.patch(POOL, response={202: Requested, **PROBLEMS}, summary="Change the limit of a work pool")
@idempotent
def limit_pool(request: HttpRequest, environment: str, pool: str, payload: PoolLimits) -> Status[Requested]:
    by = actor_of(request)
    return answered(limits.set_limits(pool_of(by, environment, pool), wanted(payload), by=by, **consent(payload)))


@router.post(f"{DEPLOYMENT}/limits", response={202: Requested, **PROBLEMS}, summary="Change the limit of a deployment")
@idempotent
def limit_deployment(
    request: HttpRequest, environment: str, deployment: Reference, payload: DeploymentLimits
) -> Status[Requested]:
    by = actor_of(request)
    row = deployment_of(by, environment, deployment)
    return answered(limits.set_limits(row, wanted(payload), by=by, **consent(payload)))
