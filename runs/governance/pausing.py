"""Request that deployments are paused or resumed: the only code that creates `PauseRequest`."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, Q, Subquery

from flows.db_text import sanitize
from flows.models import Deployment
from runs import audit, queue
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.requirements import requirements_for
from runs.models import Freeze, PauseRequest, Verb


def pause(deployment: Deployment, *, by: Actor, reason: str = "", ticket: str = "") -> PauseRequest:
    """Request that the schedules of a deployment are paused."""
    return request(deployment, pause=True, by=by, reason=reason, ticket=ticket)


def resume(deployment: Deployment, *, by: Actor, reason: str = "", ticket: str = "") -> PauseRequest:
    """Request that the schedules of a deployment are resumed."""
    return request(deployment, pause=False, by=by, reason=reason, ticket=ticket)


def request(deployment: Deployment, *, pause: bool, by: Actor, reason: str, ticket: str) -> PauseRequest:
    """Check permission and requirements, and create the request; raises `Forbidden` or `Refused`."""
    with audit.act(
        "deployment.pause" if pause else "deployment.resume", deployment, by=by, reason=reason, ticket=ticket
    ) as act:
        require(by, Verb.PAUSE, deployment)
        if deployment.deleted_upstream_at:
            raise Refused("deployment.gone", f"{deployment} is no longer deployed in {deployment.environment}.")
        if deployment.is_paused == pause:
            raise Refused("deployment.unchanged", f"{deployment} is already {'paused' if pause else 'active'}.")
        what = "pause" if pause else "resume"
        requirements_for(Target.of(deployment)).require_reason_and_ticket(what, reason=reason, ticket=ticket)
        # The mirrored state; Prefect's own is read after the request was sent.
        act.before, act.after = {"is_paused": deployment.is_paused}, {"is_paused": pause}
        return create(
            deployment, pause=pause, reason=sanitize(reason), ticket=sanitize(ticket)[:100], requested_by_name=by.name
        )


def create(deployment: Deployment, **columns: Any) -> PauseRequest:
    """Insert the request and queue it, in the current transaction."""
    pause_request = PauseRequest.objects.create(deployment=deployment, **columns)
    queue.enqueue("runs.tasks.apply_pause", pause_request.pk)
    return pause_request


def pause_for_freeze(freeze: Freeze) -> int:
    """Pause the deployments with active schedules in a frozen environment; return how many.

    Prefect starts the runs of its schedules without asking the portal. Pausing also deletes the runs it has planned.
    """
    pending = PauseRequest.objects.filter(deployment=OuterRef("pk"), state=PauseRequest.State.WANTED)
    # Runs every minute while frozen, so it skips deployments that have a request already.
    unpaused = Deployment.objects.filter(
        ~Exists(pending),
        environment=freeze.environment_id,
        deleted_upstream_at=None,
        is_paused=False,
        schedules__contains=[{"is_active": True}],
    )
    made = [pause_or_resume(each, freeze, pause=True, by_name=freeze.begun_by_name) for each in unpaused]
    return len(made)


def resume_after_freeze(freeze: Freeze, *, by_name: str) -> int:
    """Resume the schedules that a freeze paused, except those that a person paused or resumed since.

    Returns how many.
    """
    # 1. Only where the freeze's request is the last one: a later one is a person's decision.
    latest = PauseRequest.objects.filter(deployment=OuterRef("deployment")).order_by("-pk").values("pk")[:1]
    # One that was attempted may have reached Prefect although its result is unknown: resume it too.
    may_be_sent = Q(state=PauseRequest.State.DONE) | Q(state=PauseRequest.State.WANTED, attempts__gt=0)
    held = list(freeze.pause_requests.filter(may_be_sent, pk=Subquery(latest), pause=True).select_related("deployment"))
    # 2. Those not sent yet must not pause anything any more.
    freeze.pause_requests.filter(pause=True, state=PauseRequest.State.WANTED).update(
        state=PauseRequest.State.FAILED, message="The freeze ended before this was sent."
    )
    for each in held:
        pause_or_resume(each.deployment, freeze, pause=False, by_name=by_name)
    return len(held)


def pause_or_resume(deployment: Deployment, freeze: Freeze, *, pause: bool, by_name: str) -> PauseRequest:
    """Create the request of a freeze; it has no audit entry of its own, the freeze has one."""
    return create(
        deployment, pause=pause, freeze=freeze, reason=freeze.reason, ticket=freeze.ticket, requested_by_name=by_name
    )
