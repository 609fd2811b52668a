"""What a launch makes of a request; `runs.dispatch` calls these."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.utils import timezone

from runs import audit, queue
from runs.actors import Actor
from runs.lifecycle.moves import move
from runs.models import RunRequest
from runs.models.request import State


def launched(run_request: RunRequest, flow_run_id: uuid.UUID) -> None:
    """Note the flow run that Prefect made for it. Called by `runs.dispatch`."""
    with audit.act("request.launch", run_request, by=Actor.system()) as act:
        act.after = {"flow_run_id": str(flow_run_id), "attempts": run_request.attempts}
        move(run_request, to=State.LAUNCHED, flow_run_id=flow_run_id, launched_at=timezone.now(), next_attempt_at=None)
        queue.later("runs.tasks.follow_up", run_request.pk)


def refuse(run_request: RunRequest, why: str) -> None:
    """Close a request that a gate or Prefect turned down at launch. Called by `runs.dispatch`."""
    with audit.act("request.launch", run_request, by=Actor.system()) as act:
        move(run_request, to=State.REFUSED, message=why, next_attempt_at=None)
        act.refusal = why


def put_back(run_request: RunRequest, why: str, *, to: State, at: datetime) -> None:
    """Let it wait for another attempt at `at`: queued when nothing was sent, launching when that is unknown."""
    move(run_request, to=to, message=why, next_attempt_at=at)
