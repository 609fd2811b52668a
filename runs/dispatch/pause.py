"""Send pause and resume requests to Prefect."""

from __future__ import annotations

from django.utils import timezone

from flows.catalog import sync
from flows.prefect_api import connect
from flows.prefect_api.records import NotFound, PrefectError, Rejected
from runs import definitions
from runs.dispatch.leases import backoff, record_attempt, take_lease
from runs.models import PauseRequest


def apply_pause(pause_request: PauseRequest) -> None:
    """Pause or resume a deployment in Prefect, then read the deployment."""
    if not take_lease(PauseRequest.objects.filter(pk=pause_request.pk, state=PauseRequest.State.WANTED)):
        return
    pause_request.refresh_from_db()
    deployment = pause_request.deployment
    try:
        connect.client_for(deployment.environment.server).set_paused(deployment.prefect_id, pause_request.pause)
        # Prefect emits no event for pause and resume, so the next sync would be the first to notice.
        sync.refresh(deployment, on_change=definitions.record_changes)
    except (NotFound, Rejected) as error:
        PauseRequest.objects.filter(pk=pause_request.pk).update(state=PauseRequest.State.FAILED, message=str(error))
        return
    except PrefectError as error:
        record_attempt(
            pause_request,
            f"{error} Retrying automatically.",
            at=timezone.now() + backoff(pause_request.attempts),
        )
        return
    PauseRequest.objects.filter(pk=pause_request.pk).update(
        state=PauseRequest.State.DONE, message="", next_attempt_at=None
    )
