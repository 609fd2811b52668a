"""Actions: their state transitions, and the only code that creates, moves and settles them.

`runs.requests` and `runs.governance` decide about them, `runs.dispatch` carries them out and settles them by what
Prefect has afterwards, `runs.mirror` settles the cancellations of runs that have ended.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from django.db.models import QuerySet
from django.utils import timezone

from flows.db_text import sanitize
from flows.models import Deployment, GlobalLimit, WorkPool, WorkQueue
from runs import audit, queue
from runs.actors import Actor
from runs.cancel_steps import timed_out
from runs.change_feed import publish
from runs.errors import Refused
from runs.models import Action, ChangeRequest, Freeze, Run, Schedule
from runs.models.action import (
    CANCELS,
    LIMITS,
    OPEN,
    PAUSES,
    RECOVERIES,
    RETRIES,
    SCHEDULES,
    SINGLE_PAUSES,
    Before,
    Capacity,
    Kind,
    State,
)

# New state -> the states it can follow; anything else changes nothing. What is settled stays so. SENT can follow
# itself: Prefect loses cancellations now and then, and a lost answer does not say whether it was done.
LEGAL_FROM: dict[State, frozenset[State]] = {
    State.SENT: frozenset({State.WANTED, State.SENT}),
    State.DONE: frozenset({State.WANTED, State.SENT}),
    State.OVERTAKEN: frozenset({State.WANTED, State.SENT}),
    State.FAILED: frozenset({State.WANTED, State.SENT}),
}
# Result of an action -> the verb of its audit entry; pauses leave the entry of their request only.
CANCELLED = {State.DONE: "run.cancelled", State.OVERTAKEN: "run.outran_cancel", State.FAILED: "run.cancel_failed"}
RECOVERED = {
    State.DONE: "run.recovered",
    State.OVERTAKEN: "run.outran_recovery",
    State.FAILED: "run.recovery_failed",
}
RETRIED = {State.DONE: "run.retried", State.OVERTAKEN: "run.outran_retry", State.FAILED: "run.retry_failed"}
LIMITED = {
    State.DONE: "limit.changed",
    State.OVERTAKEN: "limit.outrun",
    State.FAILED: "limit.failed",
}
SAVED = {State.DONE: "schedule.saved", State.FAILED: "schedule.save_failed"}
RESULTS: dict[Kind, dict[State, str]] = {
    **dict.fromkeys(CANCELS, CANCELLED),
    **dict.fromkeys(RECOVERIES, RECOVERED),
    **dict.fromkeys(RETRIES, RETRIED),
    **dict.fromkeys(LIMITS, LIMITED),
    **dict.fromkeys([*SCHEDULES, *SINGLE_PAUSES], SAVED),
    **{kind: {} for kind in PAUSES},
}


# The run is cancelled, and nothing says that its process has stopped.
UNCONFIRMED = "Prefect stopped waiting for a confirmation. The process may still be running."


# What an action can be on -> its column
COLUMNS: dict[type, str] = {
    Run: "run",
    Deployment: "deployment",
    WorkPool: "pool",
    WorkQueue: "queue",
    GlobalLimit: "global_limit",
}


def create(
    kind: Kind,
    target: Run | Capacity,
    *,
    before: Before,
    wanted: Before | None = None,
    by_name: str,
    by: Actor | None = None,
    reason: str = "",
    ticket: str = "",
    is_automatic: bool = False,
    freeze: Freeze | None = None,
    change: ChangeRequest | None = None,
    schedule: Schedule | None = None,
    prefect_schedule: UUID | None = None,
) -> Action:
    """Insert an action and queue it, in the current transaction: a task never runs for one that was rolled back."""
    on: dict[str, Any] = {COLUMNS[type(target)]: target}
    action = Action.objects.create(
        kind=kind,
        before=before,
        wanted=wanted or {},
        reason=sanitize(reason)[:1000],
        ticket=sanitize(ticket)[:100],
        requested_by=by.holder if by else None,
        requested_by_name=by_name,
        agent=by.agent if by else None,
        is_automatic=is_automatic,
        freeze=freeze,
        change=change,
        schedule=schedule,
        prefect_schedule=prefect_schedule,
        **on,
    )
    queue.enqueue("runs.tasks.carry_out", action.pk)
    announce(action)
    return action


def move(action: Action, *, to: State, message: str = "", **columns: Any) -> bool:
    """Set the state if it is still one that `to` can follow, with other `columns`; return whether it was.

    One UPDATE compares and sets, so of two concurrent moves only one succeeds.
    """
    values: dict[str, Any] = {"state": to, "message": sanitize(message), **columns}
    if to not in OPEN:
        values |= {"settled_at": timezone.now(), "next_attempt_at": None}
    if not Action.objects.filter(pk=action.pk, state__in=LEGAL_FROM[to]).update(**values):
        return False
    for name, value in values.items():
        setattr(action, name, value)
    announce(action)
    return True


def note_sending(action: Action) -> bool:
    """Record that the action is being sent now; False when it was settled meanwhile, and must not be sent."""
    action.sent_at = timezone.now()
    return bool(Action.objects.filter(pk=action.pk, state__in=OPEN).update(sent_at=action.sent_at))


def settle(action: Action, *, to: State, message: str = "") -> None:
    """Record the result of an action, once."""
    verb = RESULTS[Kind(action.kind)].get(to)
    if verb is None:
        move(action, to=to, message=message)
        return
    subject = action.schedule or action.target
    with audit.act(verb, subject, by=Actor.system(), environment=action.target.environment.slug) as act:
        settled = move(action, to=to, message=message)
        act.is_repeat = not settled
        act.refusal = message if settled and to == State.FAILED else ""
        act.after = describe_result(action)


def request_save(schedule: Schedule, *, by: Actor | None = None, reason: str = "", ticket: str = "") -> None:
    """Queue an action that makes Prefect's copy of a schedule what the portal has; the caller has its row locked.

    What is to be saved is read when it is sent: while one is open, another would say the same.
    """
    if not Action.objects.filter(schedule=schedule, kind__in=SCHEDULES, state__in=OPEN).exists():
        create(
            Kind.SCHEDULE,
            schedule.deployment,
            before={},
            by=by,
            by_name=by.name if by else "",
            reason=reason,
            ticket=ticket,
            is_automatic=by is None,
            schedule=schedule,
        )


def open_single_pauses(deployment: Deployment) -> QuerySet[Action]:
    """Return the open pauses and resumptions of single schedules of a deployment in Prefect."""
    return Action.objects.filter(deployment=deployment, kind__in=SINGLE_PAUSES, state__in=OPEN)


def settle_ended(runs: Collection[Run]) -> list[audit.Act]:
    """Close the open cancellations of finished runs; return their audit acts for the caller to record."""
    by_pk = {run.pk: run for run in runs}
    acts: list[audit.Act] = []
    for action in Action.objects.filter(run__in=by_pk, kind__in=CANCELS, state__in=OPEN).order_by("pk"):
        run = action.run = by_pk[action.run_id or 0]
        if timed_out(run, action):
            acts += close(action, State.DONE, UNCONFIRMED, verb="run.cancel_unconfirmed")
            continue
        confirmed = run.state_type == "CANCELLED"
        acts += close(
            action,
            State.DONE if confirmed else State.OVERTAKEN,
            "" if confirmed else f"The run finished as {run.state_label} before it was cancelled.",
        )
    return acts


def settle_deleted(run: Run) -> Iterator[audit.Act]:
    """Close the open cancellations of a deleted run, which nothing can confirm any more; yield their audit acts."""
    for action in run.actions.filter(kind__in=CANCELS, state__in=OPEN):
        yield from close(action, State.FAILED, "The run was deleted in Prefect before the cancellation was confirmed.")


def close(action: Action, to: State, message: str, *, verb: str = "") -> Iterator[audit.Act]:
    """Move an action to its result and yield its audit act, unless it was settled before."""
    if move(action, to=to, message=message):
        verb = verb or RESULTS[Kind(action.kind)][to]
        yield audit.Act(verb, action.target, Actor.system(), after=describe_result(action))


def describe_result(action: Action) -> dict[str, Any]:
    """Return what the audit trail says about the result."""
    after = {"action": action.pk, "kind": action.kind}
    if action.run_id:
        after["state"] = action.target_run.state_type
    if action.wanted:
        after["wanted"] = action.wanted
    return after | ({"message": action.message} if action.message else {})


def announce(action: Action) -> None:
    if action.run_id:
        publish("run", [action.run_id])


def require_own_limit(target: Capacity) -> None:
    """Refuse to change a limit that other deployments share: Prefect would change it for all of them."""
    if isinstance(target, Deployment) and target.shared_limit:
        raise Refused(
            "limit.shared",
            f"The limit of {target} is the global concurrency limit {target.shared_limit}, which others share. Change "
            "that one.",
        )
