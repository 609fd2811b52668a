"""Send cancellations to Prefect until the run is over."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from flows.prefect_api import connect
from runs import actions, mirror
from runs.dispatch.leases import record_attempt
from runs.models import Action
from runs.models.action import Kind, State

# When to check on a cancellation that was sent. Prefect loses one that arrives between a worker's Pending and
# Submitting; by then such a worker has started the run, and it can be sent again.
CHECK_AFTER = timedelta(seconds=30)


def cancel_run(action: Action) -> None:
    """Send CANCELLING for a run, then read the run; the mirror settles the cancellation.

    Workers miss cancellations now and then: the run goes on, or stays Cancelling for minutes although no process was
    started. So it is checked again until the run is over.
    """
    run = action.target_run
    force = action.kind == Kind.FORCE
    # 1. Sent before: read what became of it.
    if action.state == State.SENT:
        mirror.refresh(run.environment, [run.prefect_id])
        run.refresh_from_db()
        if run.is_over:
            return
        is_awaited = run.state_type == "CANCELLING"
        # Still Cancelling and never started: no process could go on, so it is safe to force.
        force |= is_awaited and run.started_at is None
        if is_awaited and not force:
            record_attempt(action, "", at=timezone.now() + CHECK_AFTER)
            return
    # 2. Send it. Prefect's response is not proof (a REJECT can still cancel): only the state read afterwards counts.
    if not actions.note_sending(action):
        return
    connect.client_for(run.environment.server).cancel(run.prefect_id, force=force)
    actions.move(action, to=State.SENT, next_attempt_at=timezone.now() + CHECK_AFTER)
    mirror.refresh(run.environment, [run.prefect_id])
