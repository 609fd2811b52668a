"""Telling Prefect to stop a run, until it is over."""

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

# When to see what became of a cancel that was sent: a worker that was about to start the run has done so by then.
LOOK_AFTER = timedelta(seconds=30)


def cancel_run(cancellation: Cancellation) -> None:
    """Send CANCELLING for a run, then read what it is now; the mirror settles what follows.

    Workers miss a cancel now and then: the run goes on, or stays at Cancelling for minutes although none has begun
    it. So it is looked at again until it is over.
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
        record_attempt(cancellation, f"{error} It will be sent again by itself.", at=at)


def send_cancel(cancellation: Cancellation) -> None:
    run = cancellation.run
    force = cancellation.is_forced
    if cancellation.state == Cancellation.State.SENT:
        mirror.refresh(run.environment, [run.prefect_id])
        run.refresh_from_db()
        if run.is_terminal:
            return
        is_awaited = run.state_type == "CANCELLING"
        # Nothing is at work that could go on in spite of it.
        force |= is_awaited and run.started_at is None
        if is_awaited and not force:
            record_attempt(cancellation, "", at=timezone.now() + LOOK_AFTER)
            return
    connect.client_for(run.environment).cancel(run.prefect_id, force=force)
    now = timezone.now()
    Cancellation.objects.filter(pk=cancellation.pk, state__in=Cancellation.OPEN).update(
        state=Cancellation.State.SENT, sent_at=now, message="", next_attempt_at=now + LOOK_AFTER
    )
    mirror.refresh(run.environment, [run.prefect_id])


def fail_cancellation(cancellation: Cancellation, why: str) -> None:
    with audit.act("run.cancel_failed", cancellation.run, by=Actor.system()) as act:
        act.refusal = why
        Cancellation.objects.filter(pk=cancellation.pk).update(
            state=Cancellation.State.FAILED, message=why, settled_at=timezone.now()
        )
    publish("run", [cancellation.run_id])
