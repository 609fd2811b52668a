"""Send cancellations to Prefect until the run is over."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from flows.prefect_api import connect
from flows.prefect_api.records import NotFound, PrefectError, Rejected
from runs import audit, mirror
from runs.actors import Actor
from runs.change_feed import publish
from runs.dispatch.leases import backoff, record_attempt, take_lease
from runs.models import Cancellation

# When to check on a cancellation that was sent. Prefect loses one that arrives between a worker's Pending and
# Submitting; by then such a worker has started the run, and it can be sent again.
CHECK_AFTER = timedelta(seconds=30)


def cancel_run(cancellation: Cancellation) -> None:
    """Send CANCELLING for a run, then read the run; the mirror settles the cancellation.

    Workers miss cancellations now and then: the run goes on, or stays Cancelling for minutes although no process was
    started. So it is checked again until the run is over.
    """
    if not take_lease(Cancellation.objects.filter(pk=cancellation.pk, state__in=Cancellation.OPEN)):
        return
    cancellation.refresh_from_db()
    try:
        send_cancel(cancellation)
    except (NotFound, Rejected) as error:
        fail_cancellation(cancellation, str(error))
    except PrefectError as error:
        at = timezone.now() + backoff(cancellation.attempts)
        record_attempt(cancellation, f"{error} Retrying automatically.", at=at)


def send_cancel(cancellation: Cancellation) -> None:
    """Send the cancellation, or only check on one that was sent; raises `PrefectError`."""
    run = cancellation.run
    force = cancellation.is_forced
    # 1. Sent before: read what became of it.
    if cancellation.state == Cancellation.State.SENT:
        mirror.refresh(run.environment, [run.prefect_id])
        run.refresh_from_db()
        if run.is_over:
            return
        is_awaited = run.state_type == "CANCELLING"
        # Still Cancelling and never started: no process could go on, so it is safe to force.
        force |= is_awaited and run.started_at is None
        if is_awaited and not force:
            record_attempt(cancellation, "", at=timezone.now() + CHECK_AFTER)
            return
    # 2. Send it. Prefect's response is not proof (a REJECT can still cancel): only the state read afterwards counts.
    connect.client_for(run.environment.server).cancel(run.prefect_id, force=force)
    now = timezone.now()
    Cancellation.objects.filter(pk=cancellation.pk, state__in=Cancellation.OPEN).update(
        state=Cancellation.State.SENT, sent_at=now, message="", next_attempt_at=now + CHECK_AFTER
    )
    mirror.refresh(run.environment, [run.prefect_id])


def fail_cancellation(cancellation: Cancellation, why: str) -> None:
    """Close a cancellation that Prefect rejected for good."""
    with audit.act("run.cancel_failed", cancellation.run, by=Actor.system()) as act:
        act.refusal = why
        Cancellation.objects.filter(pk=cancellation.pk).update(
            state=Cancellation.State.FAILED, message=why, settled_at=timezone.now()
        )
    publish("run", [cancellation.run_id])
