"""Pause, resume and limit deployments, work pools, work queues and what shares a global limit in Prefect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

from django.utils import timezone

from flows.catalog import limit_catalog, pool_catalog, sync
from flows.models import Deployment, GlobalLimit, WorkPool, WorkQueue
from flows.prefect_api import connect
from flows.prefect_api.client import PrefectClient
from flows.prefect_api.records import JSON
from runs import actions, definitions
from runs.dispatch.leases import FROZEN, record_attempt
from runs.governance import deployment_moves
from runs.governance.freezes import freeze_of
from runs.governance.in_scope import left_scope
from runs.models import Action
from runs.models.action import LIMITS, PAUSES, Capacity, Kind, State


class Reach(NamedTuple):
    """How a kind of target is read into its row, and how a change of it is sent."""

    refresh: Callable[[Any], None]
    send: Callable[[PrefectClient, Any, Mapping[str, Any]], None]


def change_capacity(action: Action) -> None:
    """Send the change, and settle it by what Prefect has afterwards.

    Unless it was sent before, the target is read first: a limit that someone else has changed since it was decided
    about is left alone. An answer that was lost is no reason to leave it, and setting the same twice changes nothing.
    """
    target, wanted = action.target_capacity, wanted_of(action)
    reach = REACHES[type(target)]
    is_resume = action.kind == Kind.RESUME and isinstance(target, Deployment)
    # 0. During a freeze no schedule becomes active in Prefect, which asks nothing at its starts.
    if is_resume and freeze_of(target.environment):
        message = f"{target.environment} is frozen. Resumed when the freeze ends."
        record_attempt(action, message, at=timezone.now() + FROZEN)
        return
    # 1. What Prefect has now. What a person requested is sent in any state; of a deployment that left its scope only a
    #    pause.
    can_leave = target.environment.is_scoped and isinstance(target, Deployment) and action.kind != Kind.PAUSE
    is_of_freeze = action.freeze_id is not None and action.before == {"is_paused": False} and not action.sent_at
    if action.kind in LIMITS or can_leave or is_of_freeze:
        reach.refresh(target)
    if is_of_freeze and isinstance(target, Deployment) and target.is_paused:
        # By someone else, in Prefect: the end of the freeze must not resume it.
        actions.settle(action, to=State.OVERTAKEN, message=f"{target} was paused in Prefect already.")
        return
    if can_leave and isinstance(target, Deployment) and target.left_scope_at:
        actions.settle(action, to=State.FAILED, message=left_scope(target).message)
        return
    if action.kind in LIMITS:
        actions.require_own_limit(target)
        if not action.sent_at and (moved := differing(target, action.before)):
            message = f"{target} was changed first: {describe(moved)}."
            actions.settle(action, to=State.OVERTAKEN, message=message)
            return
    # 2. Send it.
    if not actions.note_sending(action):
        return
    reach.send(connect.client_for(target.environment.server), target, wanted)
    actions.move(action, to=State.SENT)
    # 3. Prefect's answer is not proof, and there is no event for most of this: read it.
    reach.refresh(target)
    left = differing(target, wanted)
    if left:
        message = f"Prefect did not accept it. {target} has another state: {describe(left)}."
        actions.settle(action, to=State.FAILED, message=message)
    else:
        actions.settle(action, to=State.DONE)


def wanted_of(action: Action) -> Mapping[str, Any]:
    """Return the columns of the target after the action."""
    if action.kind in PAUSES:
        return {"is_paused": action.kind == Kind.PAUSE}
    return cast(Mapping[str, Any], action.wanted)


def differing(target: Capacity, columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the columns in which the target differs, as it has them."""
    return {name: getattr(target, name) for name, value in columns.items() if getattr(target, name) != value}


def describe(columns: Mapping[str, Any]) -> str:
    """Return columns as Prefect has them now, in words."""
    if (is_there := columns.get("is_there")) is not None:
        return "it is in Prefect" if is_there else "it is not in Prefect"
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in columns.items())


def refresh_deployment(deployment: Deployment) -> None:
    sync.refresh(deployment, on_change=definitions.record_changes, on_move=deployment_moves.record_moves)
    columns = ["left_scope_at", "is_paused", "concurrency_limit", "collision_strategy", "shared_limit"]
    deployment.refresh_from_db(fields=columns)


def refresh_pool(pool: WorkPool) -> None:
    pool_catalog.refresh(pool.environment)
    pool.refresh_from_db(fields=["is_paused", "concurrency_limit"])


def refresh_queue(queue: WorkQueue) -> None:
    pool_catalog.refresh(queue.environment)
    queue.refresh_from_db(fields=["is_paused", "concurrency_limit", "priority"])


def refresh_global_limit(limit: GlobalLimit) -> None:
    limit_catalog.refresh(limit.environment)
    # The id too: a limit that was deleted and created again in Prefect is the same row.
    columns = ["prefect_id", "concurrency_limit", "is_active", "slot_decay_per_second", "deleted_upstream_at"]
    limit.refresh_from_db(fields=columns)


def send_to_global_limit(client: PrefectClient, limit: GlobalLimit, wanted: Mapping[str, Any]) -> None:
    """Create, delete or change a limit; one that an earlier attempt created or deleted is left as it is."""
    is_there = wanted.get("is_there")
    if is_there and not limit.is_there:
        client.create_global_limit(limit.name, {name: value for name, value in wanted.items() if name != "is_there"})
        return
    if limit.prefect_id is None:
        raise TypeError(f"Prefect never had the limit {limit}.")
    if is_there is None:
        client.update_global_limit(limit.prefect_id, wanted)
    elif limit.is_there and not is_there:
        client.delete_global_limit(limit.prefect_id)


def send_to_deployment(client: PrefectClient, deployment: Deployment, wanted: Mapping[str, Any]) -> None:
    if "is_paused" in wanted:
        client.set_paused(deployment.prefect_id, wanted["is_paused"])
        return
    # The options as Prefect has them now: those that are not sent are reset.
    record = client.deployment(deployment.prefect_id)
    options: dict[str, JSON] = dict(record.concurrency_options)
    if strategy := wanted.get("collision_strategy"):
        options["collision_strategy"] = strategy
    client.set_deployment_limit(
        deployment.prefect_id, wanted.get("concurrency_limit", record.concurrency_limit), options
    )


REACHES: dict[type, Reach] = {
    Deployment: Reach(refresh_deployment, send_to_deployment),
    WorkPool: Reach(refresh_pool, lambda client, pool, wanted: client.update_work_pool(pool.name, wanted)),
    WorkQueue: Reach(
        refresh_queue, lambda client, queue, wanted: client.update_work_queue(queue.pool.name, queue.name, wanted)
    ),
    GlobalLimit: Reach(refresh_global_limit, send_to_global_limit),
}
