"""Which runs are stalled: pure rules over mirrored rows, one for each kind of stall.

Nothing here asks Prefect or the clock: `runs.mirror.stalled_runs` applies the rules after each sweep and stores what
they find. The limits are set for each environment.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from django.db.models import Q

from flows.models import Environment, WorkPool
from runs.models import Run, Stall
from runs.models.action import Kind

# Every run logs a line and sends a heartbeat when it begins. Only a sign of life after that shows that a run gives any,
# so that its silence means something: a flow that only computes may log nothing for hours.
BEGINNING = timedelta(seconds=60)
# Prefect holds a run that waits for a slot of its deployment in this state.
AWAITING_SLOT = "AwaitingConcurrencySlot"


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule may look at besides the run: the work pools there, and the number of active runs in each, by name."""

    now: datetime
    environment: Environment
    pools: Mapping[str, WorkPool] = field(default_factory=dict)
    busy: Mapping[str, int] = field(default_factory=dict)


class Rule(NamedTuple):
    """`minutes` is the limit's name in the environment; `since` returns since when a run has been stalled, or None."""

    kind: Stall
    minutes: str
    since: Callable[[Run, Context], datetime | None]
    candidates: Callable[[datetime], Q]


def pending_since(run: Run, context: Context) -> datetime | None:
    """A worker claimed the run and has not reported a process for it: a worker that dies then leaves it so for ever."""
    return run.state_at if run.state_type == "PENDING" and not run.infrastructure_pid else None


def late_since(run: Run, context: Context) -> datetime | None:
    """No worker picks the run up, and nothing that is meant to hold it back does."""
    pool = context.pools.get(run.work_pool_name)
    # A pool with a limit works off its queue as long as anything is active in it: that it is not full at the moment of
    # a sweep only means that the next run is about to be picked up.
    is_queued = pool is not None and pool.concurrency_limit is not None and context.busy.get(pool.name, 0) > 0
    is_held = run.state_name == AWAITING_SLOT or (pool is not None and pool.is_paused) or is_queued
    return run.expected_start_at if run.state_type == "SCHEDULED" and not is_held else None


def silent_since(run: Run, context: Context) -> datetime | None:
    """The run gave signs of life and stopped giving them; it was looked at after that."""
    started = run.started_at or run.state_at
    if run.state_type != "RUNNING" or run.active_at is None or started is None or run.active_at <= started + BEGINNING:
        return None
    since = max(run.active_at, run.state_at or run.active_at)
    limit = timedelta(minutes=context.environment.silent_minutes)
    return since if run.detailed_at and run.detailed_at >= since + limit else None


def cancelling_since(run: Run, context: Context) -> datetime | None:
    return run.state_at if run.state_type == "CANCELLING" else None


RULES = (
    Rule(
        Stall.PENDING,
        "pending_minutes",
        pending_since,
        lambda by: Q(state_type="PENDING", infrastructure_pid="", state_at__lte=by),
    ),
    Rule(Stall.LATE, "late_minutes", late_since, lambda by: Q(state_type="SCHEDULED", expected_start_at__lte=by)),
    Rule(
        Stall.SILENT,
        "silent_minutes",
        silent_since,
        lambda by: Q(state_type="RUNNING", active_at__lte=by, state_at__lte=by),
    ),
    Rule(
        Stall.CANCELLING,
        "cancelling_minutes",
        cancelling_since,
        lambda by: Q(state_type="CANCELLING", state_at__lte=by),
    ),
)


# A run is put back only where no process can be working on it, or it would run twice. One that no worker has picked up
# is Scheduled already: what it needs is a worker.
RECOVERY_KINDS: dict[str, tuple[Kind, ...]] = {
    Stall.PENDING: (Kind.PUT_BACK, Kind.FAIL),
    Stall.LATE: (Kind.FAIL,),
    Stall.SILENT: (Kind.FAIL,),
    Stall.CANCELLING: (Kind.FAIL,),
}


def stall_of(run: Run, context: Context) -> tuple[str, datetime | None]:
    """Return the kind of stall and since when nothing has happened; an empty kind when the run is not stalled."""
    for rule in () if run.is_over else RULES:
        minutes = getattr(context.environment, rule.minutes)
        since = rule.since(run, context) if minutes else None
        if since and since + timedelta(minutes=minutes) <= context.now:
            return rule.kind, since
    return "", None


def recovery_kinds(run: Run) -> tuple[Kind, ...]:
    """Return what can be done about a stalled run; nothing for one that is not stalled."""
    # Without a deployment no worker would pick the run up again.
    return tuple(
        kind
        for kind in RECOVERY_KINDS.get(run.stalled_kind, ())
        if kind != Kind.PUT_BACK or run.deployment_id is not None
    )


def candidates(environment: Environment, now: datetime) -> Q:
    """Return the condition for the runs that the rules need to see: those that may be stalled, and those that were."""
    found = ~Q(stalled_kind="")
    for rule in RULES:
        if minutes := getattr(environment, rule.minutes):
            found |= rule.candidates(now - timedelta(minutes=minutes)) & Q(deleted_upstream_at=None)
    return found
