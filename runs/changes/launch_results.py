"""What a launch makes of a request; `runs.dispatch` calls these."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from flows.models import Environment
from runs import audit, queue
from runs.actors import Actor
from runs.change_feed import publish
from runs.changes.approvals import lock
from runs.changes.states import move
from runs.models import RunRequest
from runs.models.request import State


def launched(run_request: RunRequest, flow_run_id: uuid.UUID) -> None:
    """Note the flow run that Prefect made for it. Called by `runs.dispatch`."""
    with audit.act("request.launch", run_request, by=Actor.system()) as act:
        lock(run_request)
        if run_request.flow_run_id == flow_run_id:
            # An answer that came after its lease: a later attempt got the same run by the same key.
            act.is_repeat = True
            return
        act.after = {"flow_run_id": str(flow_run_id), "attempts": run_request.attempts}
        move(run_request, to=State.LAUNCHED, flow_run_id=flow_run_id, launched_at=timezone.now(), next_attempt_at=None)
        queue.enqueue("runs.tasks.follow_up", run_request.pk)


def refuse(run_request: RunRequest, code: str, why: str, *, attempt: int | None = None) -> None:
    """Close a request that a check or Prefect rejected at launch. Called by `runs.dispatch`."""
    with audit.act("request.launch", run_request, by=Actor.system()) as act:
        if is_overtaken(run_request, attempt):
            act.is_repeat = True
            return
        move(run_request, to=State.REFUSED, message=why, next_attempt_at=None)
        act.refusal = why
        act.after = {"refused": {"code": code}}


@transaction.atomic
def requeue(run_request: RunRequest, why: str, *, to: State, at: datetime, attempt: int) -> None:
    """Let it wait for another attempt at `at`: queued when nothing was sent, launching when that is unknown."""
    if not is_overtaken(run_request, attempt):
        move(run_request, to=to, message=why, next_attempt_at=at)


def is_overtaken(run_request: RunRequest, attempt: int | None) -> bool:
    """Whether a later attempt is on its way, or done: what an earlier one hears after its lease counts no more."""
    lock(run_request)
    return attempt is not None and (run_request.attempts != attempt or run_request.state != State.LAUNCHING)


def hold(run_request: RunRequest, why: str, *, at: datetime) -> None:
    """Let a queued request wait for its time; it is looked at again at `at`."""
    held = RunRequest.objects.filter(pk=run_request.pk, state=State.APPROVED)
    if held.update(message=why, next_attempt_at=at):
        publish("request", [run_request.pk])


def recheck(environment: Environment) -> None:
    """Ask the gates of everything that waits for its time there, now that they may have opened."""
    waiting = RunRequest.objects.filter(environment=environment, state=State.APPROVED, next_attempt_at__isnull=False)
    pks = list(waiting.values_list("pk", flat=True))
    RunRequest.objects.filter(pk__in=pks, state=State.APPROVED).update(next_attempt_at=None)
    for pk in pks:
        queue.enqueue("runs.tasks.launch", pk)
