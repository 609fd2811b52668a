"""Approve, reject, comment on, withdraw and expire change requests."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from flows.db_text import sanitize
from runs import audit, events, queue
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.audit import signatures
from runs.change_feed import publish
from runs.changes import approved_retries
from runs.changes.evidence import require_submitted
from runs.changes.release import release
from runs.changes.stages import approvers_of, step_for, steps
from runs.changes.states import ChangeState, move_change, too_late
from runs.errors import Refused
from runs.governance import rule_changes, signed_changes, windows
from runs.governance.independence import Involved, require_own_password
from runs.governance.powers import owns
from runs.governance.requirements import requirements_for
from runs.models import Approval, ChangeRequest, Comment, RunEvent, RunSpec, Verb
from runs.models.request import State
from runs.requests.frozen_values import is_intact, spec_values

Kind = RunEvent.Kind
MAX_COMMENT_LENGTH = 2000


def require_decidable(change: ChangeRequest, by: Actor, *, approves: bool) -> None:
    """Refuse a decision by the requester, without permission, or after expiry.

    The person a requester acts for cannot approve, nor the owner of a service account, at any time, what it requested.
    They can reject: being named must not silence them.
    """
    acted_for = by.user.pk == change.on_behalf_of_id or owns(by.user, change.requested_by_id)
    if by.user.pk == change.requested_by_id or (approves and acted_for):
        raise Refused("approval.own", "You cannot approve or reject your own request.")
    if by.on_behalf_of:
        raise Refused("approval.on_behalf", "You cannot approve or reject on someone else's behalf.")
    if change.kind == ChangeRequest.Kind.RULES:
        rule_changes.require_signer(change, by, approves=approves)
    else:
        require_for_all(change, Verb.APPROVE, by, with_values=True)
    if change.expires_at and change.expires_at <= timezone.now():
        raise Refused("request.expired", f"Request {change.pk} has expired. Submit a new request.")


def approve(change: ChangeRequest, *, by: Actor, reason: str = "", displayed_digest: str | None = None) -> None:
    """Record an approval of exactly this request; the last one needed launches it, or applies the change of rules.

    `displayed_digest` is the digest that the approver saw; None for the current one. Raises `Forbidden`, or `Refused`
    with code `approval.own`, `approval.twice`, `approval.stale`, `approval.group`, `rules.…` or `state.illegal`.
    """
    with audit.act("request.approve", change.subject, by=by, reason=reason, ticket=change.ticket) as act:
        # 1. Under the row lock, so that two last approvals do not launch twice.
        lock(change)
        require_decidable(change, by, approves=True)
        act.before = {"state": change.state}
        if change.state != ChangeState.WAITING:
            raise too_late(change, ChangeState.APPROVED)
        # 2. What is approved is what was displayed, and the row was not edited in the database.
        if not is_intact(change) or displayed_digest not in (None, change.digest):
            raise Refused(
                "approval.stale",
                f"Request {change.pk} is not the one displayed. Reload the page and review it again.",
            )
        if any(each.by_id == by.user.pk for each in approvers_of(change)):
            raise Refused(
                "approval.twice", "You have already approved this. The next approval must come from someone else."
            )
        involved = involved_in(change, by.user.pk)
        involved.require_independent(by.user)
        require_own_password(by.user)
        # 3. Record the approval for the current stage.
        step = step_for(change, by.user)
        record_decision(change, True, step.position, by=by, reason=reason)
        # 4. Launch after the last one.
        remaining = [each for each in steps(change) if not each.is_done]
        if remaining:
            following = remaining[0]
            if following.position != step.position:
                events.record(Kind.REQUEST_WAITING, change=change, data={"group": following.group})
            act.after = {
                "state": change.state,
                "digest": change.digest,
                "approvals_left": sum(each.left for each in remaining),
                **involved.audit_details(),
            }
            return
        move_change(change, to=ChangeState.APPROVED, message="", expires_at=valid_until(change))
        act.after = {"state": ChangeState.APPROVED, "digest": change.digest, **involved.audit_details()}
        if change.kind == ChangeRequest.Kind.RULES:
            require_submitted(change)
            signed_changes.apply(change)
            move_change(change, to=ChangeState.CLOSED, message=f"Approved by {by.name} and in effect.")
        elif change.kind == ChangeRequest.Kind.RETRY:
            approved_retries.start(change)
            move_change(change, to=ChangeState.CLOSED, message=f"Approved by {by.name}. The run is being retried.")
        else:
            release(change)
            if change.is_schedule:
                queue.enqueue("runs.tasks.run_schedules")
        events.record(Kind.REQUEST_APPROVED, change=change, data={"by": by.name, "message": change.message})


def involved_in(change: ChangeRequest, *others: int | None) -> Involved:
    """Return those who want the run, those whose approvals count, and these others, with who changed them lately."""
    return Involved.of(change, *others, *(each.by_id for each in approvers_of(change)))


def reject(change: ChangeRequest, *, by: Actor, reason: str = "") -> None:
    """Close a waiting request. One rejection is enough, even by someone who approved it before."""
    with audit.act("request.reject", change.subject, by=by, reason=reason, ticket=change.ticket) as act:
        lock(change)
        require_decidable(change, by, approves=False)
        if not reason.strip():
            raise Refused("rejection.reason_required", "Give a reason for the rejection. The requester will see it.")
        act.before = {"state": change.state}
        move_change(change, to=ChangeState.REJECTED, message=reason)
        # Stage 0: a rejection belongs to no stage, it closes the request at any of them.
        record_decision(change, False, 0, by=by, reason=reason)
        signed_changes.forget_secrets(change)
        act.after = {"state": ChangeState.REJECTED, "digest": change.digest}
        events.record(Kind.REQUEST_REJECTED, change=change, data={"by": by.name, "message": change.message})


def lock(change: ChangeRequest) -> None:
    """Lock the row until the transaction ends, and read it again: decisions are counted one at a time."""
    change.refresh_from_db(
        from_queryset=ChangeRequest.objects.select_for_update(of=["self"]).select_related("environment")
    )


def specs_of(change: ChangeRequest) -> list[RunSpec]:
    """Return what would run, in order, with the deployments as they are now."""
    return list(change.specs.select_related("deployment__environment").order_by("position"))


def require_for_all(change: ChangeRequest, verb: Verb, by: Actor, *, with_values: bool = False) -> None:
    """Raise `Forbidden` unless the actor has the verb on everything that the change request would run.

    `with_values`: also with the parameters that it would run with. A change of rules would run nothing, and nobody has
    a verb on it: it has rules of its own, without which everybody would have all verbs on the nothing in it.
    """
    if change.kind == ChangeRequest.Kind.RULES:
        raise ValueError(f"Change request {change.pk} is for rules: no grant is about those.")
    permissions = Permissions.of(by)
    for spec in specs_of(change):
        permissions.require(verb, spec.deployment, spec_values(spec) if with_values else None)


def require_visible(change: ChangeRequest, by: Actor) -> None:
    """Raise `Refused` unless the actor can see the change request."""
    if change.kind != ChangeRequest.Kind.RULES:
        require_for_all(change, Verb.SEE, by)
    elif not rule_changes.can_view(change, by):
        raise Refused("request.unknown", f"Unknown request {change.pk}.", request=change.pk)


def publish_change(change: ChangeRequest) -> None:
    publish("request", change.run_requests.values_list("pk", flat=True))


def record_decision(change: ChangeRequest, approved: bool, stage: int, *, by: Actor, reason: str) -> None:
    """Insert the signed approval or rejection; a trigger refuses the requester's own."""
    row = Approval(
        change=change,
        approved=approved,
        stage=stage,
        by=by.user,
        by_name=by.name,
        digest=change.digest,
        reason=sanitize(reason),
    )
    row.signature = signatures.sign(row)
    row.save(force_insert=True)
    publish_change(change)


def valid_until(change: ChangeRequest) -> datetime | None:
    """Return when the approvals expire: the approval timeout after the first moment the run could start.

    None for a change request for several runs, which may take longer: each spec has its own limit.
    """
    if change.kind != ChangeRequest.Kind.RUN:
        return None
    now, run_request = timezone.now(), change.run_request
    # Not from now: a run that is scheduled for next week must not expire before it can start.
    earliest = max(now, run_request.scheduled_for or now)
    target = Target.of(run_request.deployment)
    opens_at = windows.standing(target, earliest).opens_at
    minutes = requirements_for(target).minutes
    return max(earliest, opens_at or earliest) + timedelta(minutes=minutes)


def comment(change: ChangeRequest, text: str, *, by: Actor) -> None:
    """Add a comment to a request, visible to all who can see the request."""
    with audit.act("request.comment", change.subject, by=by, reason=text, ticket=change.ticket):
        require_visible(change, by)
        cleaned = sanitize(text.strip())
        if not cleaned or len(cleaned) > MAX_COMMENT_LENGTH:
            raise Refused(
                "comment.length", f"A comment must have 1 to {MAX_COMMENT_LENGTH} characters.", limit=MAX_COMMENT_LENGTH
            )
        Comment.objects.create(change=change, by=by.user, by_name=by.name, text=cleaned)
        publish_change(change)


def withdraw(change: ChangeRequest, *, by: Actor, reason: str = "") -> None:
    """Withdraw a request before it is sent: by its requester, or with permission to cancel."""
    with audit.act("request.withdraw", change.subject, by=by, reason=reason, ticket=change.ticket) as act:
        # Requesters need no permission to withdraw their own request.
        if not by.is_same_person_as(change.requested_by_id):
            require_may_withdraw(change, by)
        lock(change)
        if change.is_schedule and change.state == ChangeState.APPROVED:
            raise Refused(
                "schedule.withdraw",
                f"Request {change.pk} is for a schedule, which was approved as a whole. Pause or end the schedule.",
            )
        require_unsent(change)
        act.before = {"state": change.state}
        move_change(change, to=ChangeState.WITHDRAWN, message=reason)
        signed_changes.forget_secrets(change)
        events.record(Kind.REQUEST_WITHDRAWN, change=change)
        act.after = {"state": ChangeState.WITHDRAWN}


def withdraw_waiting(change: ChangeRequest, message: str) -> None:
    """Withdraw the waiting change request of a schedule; the caller holds its lock and writes the audit entry."""
    move_change(change, to=ChangeState.WITHDRAWN, message=message)
    events.record(Kind.REQUEST_WITHDRAWN, change=change)


def require_may_withdraw(change: ChangeRequest, by: Actor) -> None:
    """Raise `Refused` for another person's request, unless the actor could cancel all its runs.

    A change of rules can be withdrawn by its requester alone: others reject it.
    """
    if change.kind == ChangeRequest.Kind.RULES:
        raise Refused("rules.not_own", "Only the requester can withdraw a change of rules. Reject it instead.")
    require_for_all(change, Verb.CANCEL, by)


def require_unsent(change: ChangeRequest) -> None:
    """Refuse to withdraw when every run of the change request was sent to Prefect: those can only be cancelled."""
    # Locked, so that a launch at the same moment is over, or begins after the withdrawal.
    unsent = list(change.run_requests.select_for_update(of=["self"]).filter(state__in=[State.HELD, State.APPROVED]))
    is_open = change.state in (ChangeState.WAITING, ChangeState.APPROVED)
    if is_open and not unsent and change.kind in ChangeRequest.FIXED:
        first = change.run_requests.order_by("pk").first()
        raise too_late(first or change, State.WITHDRAWN)


def expire(change: ChangeRequest) -> None:
    """Close a request that was not approved in time."""
    with audit.act("request.expire", change.subject, by=Actor.system()):
        lock(change)
        # Again under the lock: it may have been approved since the task listed it.
        if change.expires_at is None or change.expires_at > timezone.now():
            raise Refused("request.not_expired", f"Request {change.pk} has not expired yet.")
        move_change(change, to=ChangeState.EXPIRED, message="Not approved in time. Submit a new request.")
        signed_changes.forget_secrets(change)
        events.record(Kind.REQUEST_EXPIRED, change=change)
