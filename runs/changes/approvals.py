"""Approve, reject, comment on, withdraw and expire run requests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from flows.db_text import sanitize
from runs import audit, notifications, queue
from runs.access.decisions import Permissions, Target, require
from runs.actors import Actor
from runs.audit import signatures
from runs.change_feed import publish
from runs.changes.states import move, too_late
from runs.errors import Refused
from runs.governance import windows
from runs.governance.independence import Involved, require_own_password
from runs.governance.requirements import requirements_for
from runs.models import Approval, BreakGlass, Comment, RunRequest, Verb
from runs.models.notification import Topic
from runs.models.policy import Stage
from runs.models.request import State
from runs.requests.approval_notices import notify_approvers
from runs.requests.frozen_values import digest, values_of

MAX_COMMENT_LENGTH = 2000
# The stage of a request that needs approval but was submitted before policies had stages.
ONE = Stage(needed=1, group="")


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a request's approvals; `given` are the names of the people who approved."""

    position: int
    needed: int
    group: str
    given: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        return len(self.given) >= self.needed

    @property
    def left(self) -> int:
        return max(self.needed - len(self.given), 0)


def steps(run_request: RunRequest) -> list[Step]:
    """Return the stages that were required at request time, with who has approved each, in order."""
    stages: list[Stage] = run_request.policy.get("stages") or ([ONE] if run_request.needs_approval else [])
    valid = approvers_of(run_request)
    return [
        Step(
            position,
            stage["needed"],
            stage["group"],
            tuple(each.by_name for each in valid if each.stage == position),
        )
        for position, stage in enumerate(stages)
    ]


def approvers_of(run_request: RunRequest) -> list[Approval]:
    """Return the approvals that count: each person's last decision, if it approves exactly this digest."""
    # Sorted here, not in SQL, so that lists can prefetch the approvals of all their requests.
    # A later row of the same person replaces the earlier one: a rejection takes an approval back.
    last = {each.by_id: each for each in sorted(run_request.approvals.all(), key=lambda each: each.pk)}
    return [each for each in last.values() if each.approved and each.digest == run_request.digest]


def emergency_override(run_request: RunRequest) -> BreakGlass | None:
    """Return the override in place of the approvals, if there is one; read once for each object."""
    return getattr(run_request, "break_glass", None)


def step_for(run_request: RunRequest, user: User) -> Step:
    """Return the current stage if the person can approve it; raise `Refused` if not."""
    step = next((each for each in steps(run_request) if not each.is_done), None)
    if step is None:
        raise Refused("approval.complete", f"Request {run_request.pk} already has all its approvals.")
    if step.group and not user.groups.filter(name=step.group).exists():
        raise Refused(
            "approval.group",
            f"Request {run_request.pk} needs {step.left} more from the group {step.group} now.",
            group=step.group,
        )
    return step


def require_decidable(run_request: RunRequest, by: Actor, *, approves: bool) -> None:
    """Refuse a decision by the requester, without permission, or after expiry.

    The person a requester acts for cannot approve. They can reject: being named must not silence them.
    """
    if by.user.pk == run_request.requested_by_id or (approves and by.user.pk == run_request.on_behalf_of_id):
        raise Refused("approval.own", "You cannot approve or reject your own request.")
    if by.on_behalf_of:
        raise Refused("approval.on_behalf", "You cannot approve or reject on someone else's behalf.")
    require(by, Verb.APPROVE, run_request.deployment, values_of(run_request))
    if run_request.expires_at and run_request.expires_at <= timezone.now():
        raise Refused("request.expired", f"Request {run_request.pk} has expired. Submit a new request.")


def approve(run_request: RunRequest, *, by: Actor, reason: str = "", displayed_digest: str | None = None) -> None:
    """Record an approval of exactly this request; the last one needed launches it.

    `displayed_digest` is the digest that the approver saw; None for the current one. Raises `Forbidden`, or `Refused`
    with code `approval.own`, `approval.twice`, `approval.stale`, `approval.group` or `state.illegal`.
    """
    with audit.act("request.approve", run_request, by=by, reason=reason, ticket=run_request.ticket) as act:
        # 1. Under the row lock, so that two last approvals do not launch twice.
        lock(run_request)
        require_decidable(run_request, by, approves=True)
        # 2. What is approved is what was displayed, and the row was not edited in the database.
        if digest(run_request) != run_request.digest or displayed_digest not in (None, run_request.digest):
            raise Refused(
                "approval.stale",
                f"Request {run_request.pk} is not the one displayed. Reload the page and review it again.",
            )
        act.before = {"state": run_request.state}
        if run_request.state != State.WAITING:
            raise too_late(run_request, State.APPROVED)
        if any(each.by_id == by.user.pk for each in approvers_of(run_request)):
            raise Refused(
                "approval.twice", "You have already approved this. The next approval must come from someone else."
            )
        involved = involved_in(run_request, by.user.pk)
        involved.require_independent(by.user)
        require_own_password(by.user)
        # 3. Record the approval for the current stage.
        step = step_for(run_request, by.user)
        record_decision(run_request, True, step.position, by=by, reason=reason)
        # 4. Launch after the last one.
        remaining = [each for each in steps(run_request) if not each.is_done]
        if remaining:
            following = remaining[0]
            if following.position != step.position:
                notify_approvers(run_request, group=following.group)
            act.after = {
                "state": run_request.state,
                "digest": run_request.digest,
                "approvals_left": sum(each.left for each in remaining),
                **involved.audit_details(),
            }
            return
        move(run_request, to=State.APPROVED, message="", expires_at=valid_until(run_request))
        act.after = {"state": State.APPROVED, "digest": run_request.digest, **involved.audit_details()}
        queue.enqueue("runs.tasks.launch", run_request.pk)
        notify_requester(run_request, "approved", by)


def involved_in(run_request: RunRequest, *others: int | None) -> Involved:
    """Return those who want the run, those whose approvals count, and these others, with who changed them lately."""
    return Involved.of(run_request, *others, *(each.by_id for each in approvers_of(run_request)))


def reject(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Close a waiting request. One rejection is enough, even by someone who approved it before."""
    with audit.act("request.reject", run_request, by=by, reason=reason, ticket=run_request.ticket) as act:
        lock(run_request)
        require_decidable(run_request, by, approves=False)
        if not reason.strip():
            raise Refused("rejection.reason_required", "Give a reason for the rejection. The requester will see it.")
        act.before = {"state": run_request.state}
        move(run_request, to=State.REJECTED, message=reason)
        # Stage 0: a rejection belongs to no stage, it closes the request at any of them.
        record_decision(run_request, False, 0, by=by, reason=reason)
        act.after = {"state": State.REJECTED, "digest": run_request.digest}
        notify_requester(run_request, "rejected", by)


def lock(run_request: RunRequest) -> None:
    """Lock the row until the transaction ends, and read it again: decisions are counted one at a time."""
    run_request.refresh_from_db(
        from_queryset=RunRequest.objects.select_for_update(of=["self"]).select_related("environment")
    )


def record_decision(run_request: RunRequest, approved: bool, stage: int, *, by: Actor, reason: str) -> None:
    """Insert the signed approval or rejection; a trigger refuses the requester's own."""
    row = Approval(
        run_request=run_request,
        approved=approved,
        stage=stage,
        by=by.user,
        by_name=by.name,
        digest=run_request.digest,
        reason=sanitize(reason),
    )
    row.signature = signatures.sign(row)
    row.save(force_insert=True)
    publish("request", [run_request.pk])


def valid_until(run_request: RunRequest) -> datetime:
    """Return when the approvals expire: the approval timeout after the first moment the run could start."""
    now = timezone.now()
    # Not from now: a run that is scheduled for next week must not expire before it can start.
    earliest = max(now, run_request.scheduled_for or now)
    opens_at = windows.standing(Target.of(run_request.deployment), earliest).opens_at
    minutes = requirements_for(Target.of(run_request.deployment)).minutes
    return max(earliest, opens_at or earliest) + timedelta(minutes=minutes)


def require_approved(run_request: RunRequest) -> None:
    """Refuse a launch whose approvals no longer hold. Called again right before the launch, under the row lock."""
    # 1. The requirements are still those of the request; without any, there is nothing to check.
    requirements = requirements_for(Target.of(run_request.deployment))
    if requirements.stages and list(requirements.stages) != run_request.policy.get("stages", [ONE]):
        raise Refused(
            "approval.requirements_changed",
            f"The requirements for running {run_request.deployment_name} have changed since. Submit a new request.",
        )
    if not run_request.needs_approval and not requirements.stages:
        return
    # 2. Each approval was given by someone who still has permission, with these values.
    values = values_of(run_request)
    for each in approvers_of(run_request):
        if not Permissions.of_person(each.by).decide(Verb.APPROVE, run_request.deployment, values):
            raise Refused(
                "approval.approver_lost_permission",
                f"{each.by_name} approved this and no longer has permission to. Submit a new request.",
                approver=each.by_name,
            )
    # 3. Each is still in the group of the stage they approved.
    found = steps(run_request)
    for each in approvers_of(run_request):
        group = next((step.group for step in found if step.position == each.stage), "")
        if group and not each.by.groups.filter(name=group).exists():
            raise Refused(
                "approval.approver_left_group",
                f"{each.by_name} approved this and is no longer in the group {group}. Submit a new request.",
                approver=each.by_name,
                group=group,
            )
    # 4. All stages are complete, and not too long ago.
    if not found or any(not step.is_done for step in found):
        raise Refused("approval.insufficient", "The approvals are no longer valid. Submit a new request.")
    if run_request.expires_at and run_request.expires_at <= timezone.now():
        raise Refused("approval.too_old", "The approval is too old. Submit a new request.")


def notify_requester(run_request: RunRequest, what: str, by: Actor) -> None:
    if run_request.requested_by:
        notifications.notify_person(
            Topic.ANSWERED,
            run_request.environment,
            run_request.requested_by,
            f"{run_request.deployment_name} in {run_request.environment_name} was {what}",
            f"{by.name} {what} your request {run_request.pk}. {run_request.message}",
            target=run_request,
        )


def comment(run_request: RunRequest, text: str, *, by: Actor) -> None:
    """Add a comment to a request, visible to all who can see the request."""
    with audit.act("request.comment", run_request, by=by, reason=text, ticket=run_request.ticket):
        require(by, Verb.SEE, run_request.deployment)
        cleaned = sanitize(text.strip())
        if not cleaned or len(cleaned) > MAX_COMMENT_LENGTH:
            raise Refused(
                "comment.length", f"A comment must have 1 to {MAX_COMMENT_LENGTH} characters.", limit=MAX_COMMENT_LENGTH
            )
        Comment.objects.create(run_request=run_request, by=by.user, by_name=by.name, text=cleaned)
        publish("request", [run_request.pk])


def withdraw(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Withdraw a request before it is sent: by its requester, or with permission to cancel."""
    with audit.act("request.withdraw", run_request, by=by, reason=reason, ticket=run_request.ticket) as act:
        # Requesters need no permission to withdraw their own request.
        if not by.is_same_person_as(run_request.requested_by_id):
            require(by, Verb.CANCEL, run_request.deployment)
        act.before = {"state": run_request.state}
        move(run_request, to=State.WITHDRAWN, message=reason)
        act.after = {"state": State.WITHDRAWN}


def expire(run_request: RunRequest) -> None:
    """Close a request that was not approved in time."""
    with audit.act("request.expire", run_request, by=Actor.system()):
        lock(run_request)
        # Again under the lock: it may have been approved since the task listed it.
        if run_request.expires_at is None or run_request.expires_at > timezone.now():
            raise Refused("request.not_expired", f"Request {run_request.pk} has not expired yet.")
        move(run_request, to=State.EXPIRED, message="Not approved in time. Submit a new request.")
