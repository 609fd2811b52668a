"""What becomes of a request before it is sent: approved, rejected, withdrawn, expired."""

from __future__ import annotations

from django.utils import timezone

from flows.access import Refused, demand
from flows.fitting import storable
from flows.models import Verb
from runs import audit, queue
from runs.actors import Actor
from runs.lifecycle.moves import move
from runs.models import Approval, RunRequest
from runs.models.request import State


def approve(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Let a waiting request go to Prefect."""
    answer(run_request, State.APPROVED, by=by, reason=reason)


def reject(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Close a waiting request."""
    answer(run_request, State.REJECTED, by=by, reason=reason)


def answer(run_request: RunRequest, to: State, *, by: Actor, reason: str) -> None:
    approved = to == State.APPROVED
    with audit.act("request.approve" if approved else "request.reject", run_request, by=by, reason=reason) as act:
        if by.is_same_person_as(run_request.asked_by_id):
            raise Refused("You cannot answer your own request: somebody else must look at it.")
        demand(by.user, Verb.APPROVE, run_request.deployment, run_request.parameters)
        if run_request.expires_at and run_request.expires_at <= timezone.now():
            raise Refused(f"Request {run_request.pk} expired before it was answered. It has to be asked for again.")
        act.before = {"state": run_request.state}
        move(run_request, to=to, message=reason)
        act.after = {"state": to, "digest": run_request.digest}
        Approval.objects.create(
            run_request=run_request,
            approved=approved,
            by=by.user,
            by_name=by.name,
            digest=run_request.digest,
            reason=storable(reason),
        )
        if approved:
            queue.later("runs.tasks.launch", run_request.pk)


def withdraw(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Take a request back before it is sent; its asker, or whoever may cancel."""
    with audit.act("request.withdraw", run_request, by=by, reason=reason) as act:
        if not by.is_same_person_as(run_request.asked_by_id):
            demand(by.user, Verb.CANCEL, run_request.deployment)
        act.before = {"state": run_request.state}
        move(run_request, to=State.WITHDRAWN, message=reason)
        act.after = {"state": State.WITHDRAWN}


def expire(run_request: RunRequest) -> None:
    """Close a request that nobody answered in time."""
    with audit.act("request.expire", run_request, by=Actor.system()):
        move(run_request, to=State.EXPIRED, message="Nobody answered in time. It has to be asked for again.")
