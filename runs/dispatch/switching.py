"""Telling Prefect to pause or resume a deployment."""

from __future__ import annotations

from django.utils import timezone

from flows import catalogue, connect
from flows.records import NotFound, PrefectError, Rejected
from runs.dispatch.leases import backoff, note, take
from runs.models import Switch


def switch(wish: Switch) -> None:
    """Pause or resume a deployment, then read what it is now."""
    if not take(Switch.objects.filter(pk=wish.pk, state=Switch.State.WANTED)):
        return
    wish.refresh_from_db()
    deployment = wish.deployment
    try:
        connect.to(deployment.environment).set_paused(deployment.prefect_id, wish.pause)
        catalogue.refresh(deployment)
    except (NotFound, Rejected) as error:
        Switch.objects.filter(pk=wish.pk).update(state=Switch.State.FAILED, message=str(error))
        return
    except PrefectError as error:
        note(wish, f"{error} It will be sent again by itself.", at=timezone.now() + backoff(wish.attempts))
        return
    Switch.objects.filter(pk=wish.pk).update(state=Switch.State.DONE, message="", next_attempt_at=None)
