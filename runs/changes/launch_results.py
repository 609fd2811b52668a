"""Record the result of a launch attempt on its request. Called by `runs.dispatch`.

Each function takes the row lock and checks whether a later attempt has taken over: an attempt whose lease expired may
still report.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from flows.models import Environment
from runs import audit, events, queue
from runs.actors import Actor
from runs.change_feed import publish
from runs.changes.launch_queue import queue_launches
from runs.changes.states import move, move_together
from runs.models import RunEvent, RunRequest
from runs.models.request import State


def lock(run_request: RunRequest) -> None:
    """Lock the row until the transaction ends, and read it again. Its spec and change request never change with it."""
    rows = RunRequest.objects.select_for_update(of=["self"]).select_related("environment", "change", "spec")
    run_request.refresh_from_db(from_queryset=rows)


def launched(run_request: RunRequest, flow_run_id: uuid.UUID) -> None:
    """Record the flow run that Prefect created."""
    with audit.act("request.launch", run_request, by=Actor.system()) as act:
        lock(run_request)
        if run_request.flow_run_id == flow_run_id:
            # A late answer: another attempt already got the same run with the same idempotency key.
            act.is_repeat = True
            return
        # The attempt count shows in the trail whether Prefect had to be asked more than once.
        act.after = {"flow_run_id": str(flow_run_id), "attempts": run_request.attempts}
        move(run_request, to=State.LAUNCHED, flow_run_id=flow_run_id, launched_at=timezone.now(), next_attempt_at=None)
        events.record(RunEvent.Kind.REQUEST_LAUNCHED, run_request=run_request)
        # Read the run soon even if its event is lost. One task an environment, for all that are launched until it runs:
        # reading each by itself would cost Prefect more than creating it.
        queue.enqueue("runs.tasks.follow_up", run_request.environment_id)


def launched_together(started: Sequence[tuple[RunRequest, uuid.UUID]]) -> None:
    """Record flow runs that Prefect created in one call, in one transaction; late answers change nothing."""
    with transaction.atomic():
        # All rows before any audit entry: two transactions that take the two in opposite order would deadlock.
        pks = [run_request.pk for run_request, _ in started]
        states = dict(
            RunRequest.objects.select_for_update().filter(pk__in=pks).order_by("pk").values_list("pk", "state")
        )
        current = [(each, flow_run_id) for each, flow_run_id in started if states[each.pk] == State.LAUNCHING]
        if not current:
            return
        acts = []
        for run_request, flow_run_id in current:
            run_request.flow_run_id = flow_run_id
            after = {"flow_run_id": str(flow_run_id), "attempts": run_request.attempts}
            acts.append(audit.Act("request.launch", run_request, Actor.system(), after=after))
        rows = [run_request for run_request, _ in current]
        RunRequest.objects.bulk_update(rows, ["flow_run_id"])
        move_together(rows, to=State.LAUNCHED, launched_at=timezone.now(), next_attempt_at=None)
        events.record_each(RunEvent.Kind.REQUEST_LAUNCHED, rows)
        for environment_pk in {each.environment_id for each in rows}:
            queue.enqueue("runs.tasks.follow_up", environment_pk)
        audit.record_many(acts)


def refuse(run_request: RunRequest, code: str, why: str, *, attempt: int | None = None) -> None:
    """Close a request that a check or Prefect rejected at launch."""
    with audit.act("request.launch", run_request, by=Actor.system()) as act:
        if is_overtaken(run_request, attempt):
            act.is_repeat = True
            return
        move(run_request, to=State.REFUSED, message=why, next_attempt_at=None)
        # It makes room for the next run of its change request, or stops it.
        if run_request.change.pacing:
            queue.enqueue("runs.tasks.advance_changes")
        events.record(RunEvent.Kind.REQUEST_REFUSED, run_request=run_request, data={"code": code})
        # Recorded as a refusal in the trail without raising: the transaction, with the move, must commit.
        act.refusal = why
        act.after = {"refused": {"code": code}}


def note_sent(*run_requests: RunRequest) -> None:
    """Note that requests are about to be sent: an attempt that died before this is checked again."""
    RunRequest.objects.filter(pk__in=[each.pk for each in run_requests]).update(sent_at=timezone.now())


@transaction.atomic
def requeue(run_request: RunRequest, why: str, *, to: State, at: datetime, attempt: int) -> None:
    """Schedule another attempt at `at`; `to` is approved when nothing was sent, launching when that is unknown."""
    if not is_overtaken(run_request, attempt):
        not_sent = {"sent_at": None} if to == State.APPROVED else {}
        move(run_request, to=to, message=why, next_attempt_at=at, **not_sent)


def is_overtaken(run_request: RunRequest, attempt: int | None) -> bool:
    """Return whether a later attempt has taken over, so that the result of this one no longer counts."""
    # Without a number the caller holds the row lock already, so no later attempt can have started.
    lock(run_request)
    return attempt is not None and (run_request.attempts != attempt or run_request.state != State.LAUNCHING)


def hold(run_request: RunRequest, why: str, *, at: datetime) -> None:
    """Keep a queued request waiting for its start time or window; it is checked again at `at`."""
    # Not a move: the state stays, only the reason and the time of the next check change.
    held = RunRequest.objects.filter(pk=run_request.pk, state=State.APPROVED)
    if held.update(message=why, next_attempt_at=at):
        publish("request", [run_request.pk])


def recheck(environment: Environment) -> None:
    """Check all waiting requests of an environment again, now that a freeze or window may have opened."""
    waiting = RunRequest.objects.filter(environment=environment, state=State.APPROVED, next_attempt_at__isnull=False)
    pks = list(waiting.values_list("pk", flat=True))
    RunRequest.objects.filter(pk__in=pks, state=State.APPROVED).update(next_attempt_at=None)
    queue_launches(RunRequest.objects.filter(pk__in=pks).select_related("change"))
