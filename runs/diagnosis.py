"""Explain in one sentence why a run failed or does not start, and what to do.

Pure functions over mirrored rows: nothing here asks Prefect, so that a list of runs costs no calls.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from django.utils import timezone

from flows.models import WorkPool
from flows.wording import listed, plural
from runs.failure_causes import FORCED_AFTER, LONGEST, explain_cancellation, explain_failure
from runs.models import Run, Stall

# A worker polls every 15 s and takes a few seconds to start a process: below this a run is not late.
PATIENCE = timedelta(seconds=60)
# How many workers of a pool are named.
MOST_WORKERS = 5
DELETED = (
    "This run was deleted in Prefect before it ended, so its result is unknown. Check what it has done, then run the "
    "deployment again if needed."
)
# State messages of a scheduled run that add nothing to its start time.
PLAIN_MESSAGES = ("", "Flow run scheduled")


@dataclass(frozen=True, slots=True)
class Context:
    """What the explanation of a run depends on.

    `busy` is the number of active runs in its work pool, `siblings` in its deployment. `down` is the message of the
    last health check when that failed, else empty.
    """

    now: datetime
    pool: WorkPool | None = None
    busy: int = 0
    siblings: int = 0
    down: str = ""


def explain(run: Run, context: Context) -> str:
    """Return one sentence, or an empty string when there is nothing to explain."""
    if run.state_type in ("FAILED", "CRASHED"):
        return explain_failure(run)
    if run.is_terminal:
        return explain_cancellation(run) if run.state_type == "CANCELLED" else ""
    return fill(waiting_rule(run, context).sentence, run, context)


def waiting_rule(run: Run, context: Context) -> Rule:
    """Return the rule that explains a run that is not over: the first that applies."""
    return next(rule for rule in WAITING_RULES if rule.applies(run, context))


class Rule(NamedTuple):
    """`sentence` may have the placeholders that `fill` knows; an empty one means that there is nothing to explain."""

    code: str
    applies: Callable[[Run, Context], bool]
    sentence: str


# Why a run does not go on. The first rule that applies wins, so a cause that hides others stands above them: a paused
# pool above missing workers, missing workers above a full pool.
WAITING_RULES: tuple[Rule, ...] = (
    Rule("deleted", lambda r, s: r.deleted_upstream_at is not None, DELETED),
    Rule(
        "unreachable", lambda r, s: bool(s.down), "{environment} cannot be reached, so this may be out of date: {down}"
    ),
    Rule(
        "stalled_pending",
        lambda r, s: r.stalled_kind == Stall.PENDING,
        "Stalled: a worker picked it up {age} ago, and no process has started. {workers} If the worker that picked it "
        "up is gone, put the run back to Scheduled, and another worker starts it.",
    ),
    Rule(
        "stalled_silent",
        lambda r, s: r.stalled_kind == Stall.SILENT,
        "Stalled: no heartbeat, log line or task change for {silence}. {workers} Check the process where its worker "
        "runs. If it is gone, mark the run as failed.",
    ),
    Rule(
        "stalled_cancelling",
        lambda r, s: r.stalled_kind == Stall.CANCELLING,
        "Stalled: cancellation not confirmed for {age}. {workers} Check the process where its worker runs. If it is "
        "gone, mark the run as failed.",
    ),
    Rule(
        "cancel_unconfirmed",
        lambda r, s: r.state_type == "CANCELLING" and age(r, s) > PATIENCE,
        "Cancellation not confirmed for {age}. Prefect marks the run as cancelled after {forced_after} minutes; its "
        "process may still be running.",
    ),
    Rule(
        "cancelling",
        lambda r, s: r.state_type == "CANCELLING",
        "Cancellation requested. Waiting for its process to stop.",
    ),
    Rule("running", lambda r, s: r.state_type == "RUNNING", ""),
    Rule(
        "paused",
        lambda r, s: r.state_type == "PAUSED",
        "Paused. Resume it in Prefect, or it fails when its pause times out.",
    ),
    Rule("retrying", lambda r, s: r.state_name == "AwaitingRetry", "Failed; retrying at {start}."),
    Rule(
        "awaiting_slot",
        lambda r, s: r.state_name == "AwaitingConcurrencySlot",
        "Concurrency limit of the deployment reached: {siblings_limit}. Starts when one of them finishes.",
    ),
    Rule(
        "postponed",
        lambda r, s: is_later(r, s) and r.state_message not in PLAIN_MESSAGES,
        "Scheduled for {start}. {message}",
    ),
    Rule("scheduled", lambda r, s: is_later(r, s), "Scheduled for {start}."),
    Rule(
        "no_pool",
        lambda r, s: not r.work_pool_name,
        "The deployment has no work pool, so no worker can start it; a process that serves the flow can.",
    ),
    Rule(
        "unknown_pool",
        lambda r, s: s.pool is None,
        "Work pool {pool} does not exist in {environment}. Create it, or deploy the flow to another work pool.",
    ),
    Rule(
        "pool_paused",
        lambda r, s: s.pool is not None and s.pool.is_paused,
        "Work pool {pool} is paused. Resume it in Prefect to start its runs.",
    ),
    Rule(
        "pending_stuck",
        lambda r, s: r.state_type == "PENDING" and age(r, s) > PATIENCE,
        "A worker picked it up {age} ago, but its process has not started. {workers} Check the log.",
    ),
    Rule("pending", lambda r, s: r.state_type == "PENDING", "Worker is starting the run."),
    Rule(
        "no_workers",
        lambda r, s: s.pool is not None and s.pool.needs_worker and not s.pool.workers,
        "Work pool {pool} has no workers. Start one: prefect worker start --pool {pool_word}",
    ),
    Rule(
        "workers_offline",
        lambda r, s: s.pool is not None and s.pool.needs_worker and not s.pool.workers_online,
        "No worker in work pool {pool} is online. Last heartbeat: {heartbeat}. "
        "Start one: prefect worker start --pool {pool_word}",
    ),
    Rule(
        "pool_full",
        lambda r, s: s.pool is not None and is_full(s.pool.concurrency_limit, s.busy),
        "Work pool {pool} is full: {pool_limit}. Starts when one of them finishes.",
    ),
    Rule(
        "deployment_full",
        lambda r, s: r.deployment is not None and is_full(r.deployment.concurrency_limit, s.siblings),
        "Concurrency limit of the deployment reached: {siblings_limit}. Starts when one of them finishes.",
    ),
    Rule(
        "deployment_paused",
        lambda r, s: r.is_auto_scheduled and r.deployment is not None and r.deployment.is_paused,
        "The deployment is paused, so its scheduled runs do not start.",
    ),
    Rule(
        "late",
        lambda r, s: waited(r, s) > PATIENCE,
        "A worker in {pool} is online, but has not picked it up for {waited}. Check that a worker polls work queue "
        "{queue}, and that the queue is not paused or full.",
    ),
    Rule("waiting", lambda r, s: True, "Waiting for a worker in {pool}."),
)


def fill(sentence: str, run: Run, context: Context) -> str:
    """Fill the placeholders of a sentence in `WAITING_RULES`."""
    pool, deployment = context.pool, run.deployment
    return sentence.format(
        environment=run.environment,
        down=context.down,
        age=span(age(run, context)),
        waited=span(waited(run, context)),
        forced_after=FORCED_AFTER // timedelta(minutes=1),
        start=moment(run.expected_start_at, context.now),
        message=run.state_message[:LONGEST],
        silence=span(silence(run, context)),
        workers=workers(pool, context.now),
        pool=run.work_pool_name,
        pool_word=shlex.quote(run.work_pool_name),  # pasted into a shell, and the name is anyone's choice
        pool_limit=runs(pool.concurrency_limit if pool else None),
        siblings_limit=runs(deployment.concurrency_limit if deployment else None),
        heartbeat=moment(last_heartbeat(pool), context.now) if pool else "",
        queue=run.work_queue_name or "default",
    )


def is_later(run: Run, context: Context) -> bool:
    return run.state_type == "SCHEDULED" and run.expected_start_at is not None and run.expected_start_at > context.now


def is_full(limit: int | None, taken: int) -> bool:
    return limit is not None and taken >= limit


def age(run: Run, context: Context) -> timedelta:
    """Return how long the run has been in its state."""
    return context.now - run.state_at if run.state_at else timedelta()


def waited(run: Run, context: Context) -> timedelta:
    """Return how long ago the run should have started."""
    since = run.expected_start_at or run.state_at
    return context.now - since if since else timedelta()


def silence(run: Run, context: Context) -> timedelta:
    """Return how long ago the run last gave a sign of life."""
    return context.now - run.active_at if run.active_at else age(run, context)


def workers(pool: WorkPool | None, now: datetime) -> str:
    """Say which workers of the pool are online, as a sentence; empty for a pool that is not known."""
    if pool is None:
        return ""
    online = [str(worker["name"]) for worker in pool.workers if worker["is_online"]]
    if not online:
        heard = f" Last heartbeat: {moment(last_heartbeat(pool), now)}." if pool.workers else ""
        return f"No worker in work pool {pool.name} is online.{heard}"
    return f"Online in work pool {pool.name}: {listed(online, MOST_WORKERS)}."


def last_heartbeat(pool: WorkPool) -> datetime | None:
    beats = [worker["last_heartbeat"] for worker in pool.workers if worker.get("last_heartbeat")]
    return max((datetime.fromisoformat(beat) for beat in beats), default=None)


def runs(limit: int | None) -> str:
    """Return a limit in words, such as “3 runs at a time”."""
    # A run can wait for a slot although no limit is known here: it was set or lifted after the last sync.
    return "a limited number of runs" if limit is None else f"{plural(limit, 'run')} at a time"


def moment(at: datetime | None, now: datetime) -> str:
    """Return a time in the portal's time zone, without the date when it is today."""
    if at is None:
        return "an unknown time"
    local, today = timezone.localtime(at), timezone.localtime(now)
    return f"{local:%H:%M:%S}" if local.date() == today.date() else f"{local:%d %b %Y %H:%M}"


def span(length: timedelta) -> str:
    """Return a duration in its largest useful unit: 42 s, 7 min, 3 h, 2 days."""
    seconds = max(int(length.total_seconds()), 0)
    for size, unit in ((86400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
