"""Find stalled runs, by the rules of `runs.stalls`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, Q
from django.db.models.functions import Coalesce
from django.utils import timezone

from flows.models import Environment, WorkPool
from runs import events, stalls
from runs.change_feed import publish
from runs.mirror.details import TAILED, fetch_details
from runs.mirror.environment_lock import mirror_lock
from runs.models import Run, RunEvent

# How often a quiet run is read again: each costs three calls to Prefect.
LOOK_EVERY = timedelta(minutes=1)
# Prefect counts a run against the limit of its work pool from the moment a worker picks it up.
OCCUPYING = ["PENDING", "RUNNING", "CANCELLING"]
# The columns that the rules read; the others can be large.
READ = [
    *("environment_id", "prefect_id", "state_type", "state_name", "state_at", "expected_start_at", "started_at"),
    *("work_pool_name", "infrastructure_pid", "detailed_at", "active_at", "stalled_kind", "stalled_since"),
    "deleted_upstream_at",
]


def mark_stalled(environment: Environment, *, is_first: bool = False) -> list[Run]:
    """Mark stalled runs and unmark those that move again; return those newly found.

    Called after a complete sweep: what is out of date must not look like a stall. `is_first` is the first sweep of an
    environment: no one is notified of what it finds. Raises `PrefectError`.
    """
    # Its limits as they are now: the follower keeps its row for days.
    environment = Environment.objects.select_related("server").get(pk=environment.pk)
    look_closer(environment)
    with transaction.atomic():
        # The lock of upserts: a run that moves while this reads it must not be marked for what it was.
        mirror_lock(environment)
        now = timezone.now()
        context = context_of(environment, now)
        found, changed = [], []
        for run in Run.objects.filter(stalls.candidates(environment, now), environment=environment).only(*READ):
            earlier = run.stalled_kind, run.stalled_since
            run.stalled_kind, run.stalled_since = stalls.stall_of(run, context)
            if (run.stalled_kind, run.stalled_since) != earlier:
                changed.append(run)
                found += [run] if run.stalled_kind else []
        if changed:
            store(changed)
            publish("run", [run.pk for run in changed])
        if found:
            # One event for all of them: a server that stops can stall thousands at once.
            data = {"runs": [[run.pk, run.stalled_kind] for run in found]}
            events.record(RunEvent.Kind.RUNS_STALLED, environment=environment, data=data, is_history=is_first)
    return found


def store(runs: Sequence[Run]) -> None:
    """Write the stalls of these runs in one statement: a server that stops can stall thousands at once."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE runs_run SET stalled_kind = found.kind, stalled_since = found.since FROM "
            "unnest(%s::bigint[], %s::text[], %s::timestamptz[]) AS found (pk, kind, since) WHERE id = found.pk",
            [[run.pk for run in runs], [str(run.stalled_kind) for run in runs], [run.stalled_since for run in runs]],
        )


def context_of(environment: Environment, now: datetime) -> stalls.Context:
    """Read what the rules need besides the runs, in two queries."""
    occupying = Run.objects.filter(environment=environment, state_type__in=OCCUPYING, deleted_upstream_at=None)
    counts = occupying.order_by().values_list("work_pool_name").annotate(Count("pk"))
    pools = {pool.name: pool for pool in WorkPool.current.filter(environment=environment)}
    return stalls.Context(now, environment, pools, dict(counts))


def look_closer(environment: Environment) -> None:
    """Read the logs, tasks and heartbeats of runs that seem silent, before anything is concluded from that.

    Only the newest running runs are followed line by line; this reads the others, a few in each sweep.
    """
    if not environment.silent_minutes:
        return
    now = timezone.now()
    since = now - timedelta(minutes=environment.silent_minutes)
    quiet = Run.objects.alias(sign=Coalesce("active_at", "started_at")).filter(
        Q(detailed_at=None) | Q(detailed_at__lte=now - LOOK_EVERY),
        environment=environment,
        state_type="RUNNING",
        deleted_upstream_at=None,
        state_at__lte=since,
        sign__lte=since,
    )
    # Those longest without a look come first, so that each has its turn.
    fetch_details(environment, list(quiet.order_by("detailed_at").values_list("prefect_id", flat=True)[:TAILED]))
