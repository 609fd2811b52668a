"""Put stalled Pending runs back without a person, where it is certain that no worker holds them.

Prefect does not record which worker claimed a run. It is certain only if every worker that could have is offline.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q

from flows.models import Environment
from flows.prefect_api import connect
from flows.prefect_api.records import WorkPoolRecord
from runs import requests
from runs.errors import Refused
from runs.models import Action, Run, Stall
from runs.models.action import CANCELS, OPEN, RECOVERIES

log = logging.getLogger(__name__)

# How long before the claim the last heartbeat of a worker can be that claimed a run: it sends one every 30 s.
BEFORE_CLAIM = timedelta(minutes=2)
# Each is a transaction of its own, and the rest follows half a minute later.
MOST_AT_ONCE = 100


def put_back_stalled(environment: Environment) -> int:
    """Queue the recovery of stalled Pending runs whose worker is gone; return how many.

    Once a run, never in a protected environment. Raises `PrefectError`.
    """
    if environment.is_protected or not environment.puts_back:
        return 0
    stalled = Run.objects.filter(
        environment=environment, stalled_kind=Stall.PENDING, deployment__isnull=False, deleted_upstream_at=None
    )
    # Also while anyone else has decided about it: a refusal every half minute would fill the audit trail.
    decided = Action.objects.filter(
        Q(kind__in=RECOVERIES, is_automatic=True) | Q(kind__in=[*RECOVERIES, *CANCELS], state__in=OPEN),
        run=OuterRef("pk"),
    )
    undecided = stalled.exclude(Exists(decided))
    runs = list(undecided.select_related("environment", "access_deployment").order_by("state_at")[:MOST_AT_ONCE])
    if not runs:
        return 0
    pools = pools_of(environment)
    count = 0
    for run in runs:
        if not is_claimer_gone(run.state_at, pools.get(run.work_pool_name)):
            continue
        try:
            # Asked before, outside of the audited act, for the same reason: a freeze can last for days.
            requests.require_window(run)
            requests.put_back_automatically(run)
        except Refused as refusal:
            log.info("%s: %s", run, refusal)
        else:
            count += 1
    return count


def pools_of(environment: Environment) -> dict[str, WorkPoolRecord]:
    """Read the work pools with their workers from Prefect, by name."""
    return {pool.name: pool for pool in connect.client_for(environment.server).work_pools()}


def is_claimer_gone(claimed_at: datetime | None, pool: WorkPoolRecord | None) -> bool:
    """Return whether every worker that can have claimed a run then is offline past its heartbeats.

    A worker that was first heard of later cannot have claimed it. A worker that was restarted under its old name looks
    as if it had never stopped: then it is not certain.
    """
    if claimed_at is None or pool is None:
        return False
    suspects = [worker for worker in pool.workers if worker.created_at is None or worker.created_at <= claimed_at]
    # Someone must have claimed it: without a worker that was alive then, its row was removed.
    was_alive = any(each.last_heartbeat and each.last_heartbeat >= claimed_at - BEFORE_CLAIM for each in suspects)
    return was_alive and not any(each.is_online or each.last_heartbeat is None for each in suspects)


def require_claimer_gone(run: Run) -> None:
    """Refuse to put a run back automatically unless that is still certain; asks Prefect again."""
    if not is_claimer_gone(run.state_at, pools_of(run.environment).get(run.work_pool_name)):
        raise Refused(
            "recovery.worker_online",
            f"A worker that can have picked up {run} is online again, so it is not put back automatically.",
        )
