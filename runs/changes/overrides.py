"""Emergency override of approvals, its review, and override of change windows and freezes.

Each needs its own verb and a reason, notifies or is marked on the run, and is in the audit trail.
"""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from flows.db_text import sanitize
from runs import audit, notifications, queue
from runs.access.decisions import Permissions, require
from runs.actors import Actor
from runs.audit import signatures
from runs.change_feed import publish
from runs.changes.approvals import involved_in, lock
from runs.changes.states import move
from runs.errors import Refused
from runs.governance.independence import require_own_password
from runs.models import BreakGlass, RunRequest, Verb
from runs.models.notification import Topic
from runs.models.request import State
from runs.requests.frozen_values import digest, values_of

# Minutes.
MIN_OVERRIDE, MAX_OVERRIDE = 1, 60


def break_glass(run_request: RunRequest, *, by: Actor, reason: str, minutes: int = 15) -> BreakGlass:
    """Launch a waiting request without its approvals, within `minutes` or not at all; it must be reviewed afterwards.

    Change windows and freezes still apply: overriding those needs another verb.
    """
    # 1. Under the row lock: permission, reason, length, state, and that the request was not tampered with.
    with audit.act("request.break_glass", run_request, by=by, reason=reason, ticket=run_request.ticket) as act:
        lock(run_request)
        require(by, Verb.BREAK_GLASS, run_request.deployment, values_of(run_request))
        if not reason.strip():
            raise Refused("override.reason_required", "Describe the emergency.")
        if not MIN_OVERRIDE <= minutes <= MAX_OVERRIDE:
            raise Refused(
                "override.minutes",
                f"An emergency override lasts {MIN_OVERRIDE} to {MAX_OVERRIDE} minutes.",
                minimum=MIN_OVERRIDE,
                maximum=MAX_OVERRIDE,
            )
        if run_request.state != State.WAITING:
            raise Refused(
                "override.not_waiting",
                f"Request {run_request.pk} is not waiting for approval, so there is nothing to override.",
            )
        if run_request.expires_at and run_request.expires_at <= timezone.now():
            raise Refused("request.expired", f"Request {run_request.pk} has expired. Submit a new request.")
        if digest(run_request) != run_request.digest:
            raise Refused(
                "request.changed", f"Request {run_request.pk} does not match what was requested. Submit a new request."
            )
        # 2. The record first: the database lets a request without approvals move on only while one is in force.
        until = timezone.now() + timedelta(minutes=minutes)
        row = BreakGlass(
            run_request=run_request, by=by.user, by_name=by.name, until=until, reason=sanitize(reason.strip())
        )
        row.signature = signatures.sign(row)
        row.save(force_insert=True)
        act.before = {"state": run_request.state}
        move(run_request, to=State.APPROVED, message=row.summary, expires_at=until)
        act.after = {"state": State.APPROVED, "digest": run_request.digest, "until": until}
        queue.enqueue("runs.tasks.launch", run_request.pk)
        notify_override(row)
        return row


def notify_override(row: BreakGlass) -> None:
    """Notify the subscribers who can see the deployment."""
    run_request = row.run_request

    def may(person: User) -> bool:
        return Permissions.of_person(person).decide(Verb.SEE, run_request.deployment).allowed

    notifications.notify(
        Topic.BREAK_GLASS,
        run_request.environment,
        f"Emergency override: {run_request.deployment_name} in {run_request.environment_name}",
        f"{row.by_name} ran {run_request.deployment_name} without approval. Reason: {row.reason}. "
        "Someone else must review it.",
        target=run_request,
        may=may,
    )


def review(row: BreakGlass, *, by: Actor, was_right: bool, text: str) -> None:
    """Record whether an emergency override was justified; by someone who can approve and had no part in it."""
    run_request = row.run_request
    with audit.act("request.review", run_request, by=by, reason=text, ticket=run_request.ticket) as act:
        # Neither the person who used it nor those who wanted the run can judge it.
        if by.user.pk in (row.by_id, run_request.requested_by_id, run_request.on_behalf_of_id):
            raise Refused("review.own", "This must be reviewed by someone who had no part in it.")
        require(by, Verb.APPROVE, run_request.deployment, values_of(run_request))
        involved = involved_in(run_request, row.by_id, by.user.pk)
        involved.require_independent(by.user)
        require_own_password(by.user)
        if not text.strip():
            raise Refused("review.text_required", "Describe what the review found.")
        # Compare and set: of two concurrent reviews only one is stored.
        reviewed = BreakGlass.objects.filter(pk=row.pk, reviewed_at=None).update(
            reviewed_by=by.user,
            reviewed_by_name=by.name,
            reviewed_at=timezone.now(),
            was_right=was_right,
            review=sanitize(text.strip())[:1000],
        )
        if not reviewed:
            raise Refused("review.twice", "This override has already been reviewed.")
        act.after = {"was_right": was_right, **involved.audit_details()}
        publish("request", [run_request.pk])


def override(run_request: RunRequest, *, by: Actor, reason: str) -> None:
    """Launch a request that waits for a change window or the end of a freeze. Approvals are still required."""
    with audit.act("request.override", run_request, by=by, reason=reason, ticket=run_request.ticket) as act:
        lock(run_request)
        require(by, Verb.OVERRIDE_FREEZE, run_request.deployment, values_of(run_request))
        if not reason.strip():
            raise Refused("window.reason_required", "Give a reason for starting outside the change window.")
        if run_request.state not in (State.WAITING, State.APPROVED) or run_request.overridden_at:
            raise Refused("window.not_waiting", f"Request {run_request.pk} is not waiting for a change window.")
        # The reason for waiting is about to be replaced; the trail keeps it.
        act.before = {"state": run_request.state, "waited_for": run_request.message}
        RunRequest.objects.filter(pk=run_request.pk).update(
            overridden_at=timezone.now(),
            overridden_by_name=by.name,
            next_attempt_at=None,
            message=f"Change window overridden by {by.name}.",
        )
        act.after = {"overridden_by": by.name, "digest": run_request.digest}
        # One that still waits for approval is launched by its last approval.
        if run_request.state == State.APPROVED:
            queue.enqueue("runs.tasks.launch", run_request.pk)
        publish("request", [run_request.pk])
