"""Emergency override of approvals, its review, and override of change windows and freezes.

Each needs its own verb and a reason, notifies or is marked on the run, and is in the audit trail.
"""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from flows.db_text import sanitize
from runs import audit, events, queue
from runs.access.decisions import require
from runs.actors import Actor
from runs.audit import signatures
from runs.change_feed import publish
from runs.changes.approvals import involved_in, lock, publish_change, require_for_all
from runs.changes.launch_results import lock as lock_run
from runs.changes.release import release
from runs.changes.states import ChangeState, move_change
from runs.errors import Refused
from runs.governance.independence import require_own_password
from runs.governance.powers import owns
from runs.models import BreakGlass, ChangeRequest, RunEvent, RunRequest, Verb
from runs.models.request import State
from runs.requests.frozen_values import is_intact, values_of

# Minutes.
MIN_OVERRIDE, MAX_OVERRIDE = 1, 60
# An emergency is not a backfill: no more runs than one person can watch.
MOST_RUNS = 5


def break_glass(change: ChangeRequest, *, by: Actor, reason: str, minutes: int = 15) -> BreakGlass:
    """Launch a waiting request without its approvals, within `minutes` or not at all; it must be reviewed afterwards.

    Change windows and freezes still apply: overriding those needs another verb.
    """
    # 1. Under the row lock: permission, reason, length, state, and that the request was not tampered with.
    with audit.act("request.break_glass", change.subject, by=by, reason=reason, ticket=change.ticket) as act:
        lock(change)
        if change.kind == ChangeRequest.Kind.RULES:
            raise Refused(
                "override.rules", "A change of rules has no emergency: another administrator must approve it."
            )
        require_for_all(change, Verb.BREAK_GLASS, by, with_values=True)
        if change.agent_id is not None and by.is_same_person_as(change.requested_by_id):
            raise Refused(
                "agent.needs_person",
                "Your agent asked for this, so someone else must override its approvals. In an emergency, request the "
                "run yourself.",
            )
        require_few(change)
        if not reason.strip():
            raise Refused("override.reason_required", "Describe the emergency.")
        if not MIN_OVERRIDE <= minutes <= MAX_OVERRIDE:
            raise Refused(
                "override.minutes",
                f"An emergency override lasts {MIN_OVERRIDE} to {MAX_OVERRIDE} minutes.",
                minimum=MIN_OVERRIDE,
                maximum=MAX_OVERRIDE,
            )
        if change.state != ChangeState.WAITING:
            raise Refused(
                "override.not_waiting",
                f"Request {change.pk} is not waiting for approval, so there is nothing to override.",
            )
        if change.expires_at and change.expires_at <= timezone.now():
            raise Refused("request.expired", f"Request {change.pk} has expired. Submit a new request.")
        if not is_intact(change):
            raise Refused(
                "request.changed", f"Request {change.pk} does not match what was requested. Submit a new request."
            )
        # 2. The record first: the database lets a request without approvals move on only while one is in force.
        until = timezone.now() + timedelta(minutes=minutes)
        row = BreakGlass(change=change, by=by.user, by_name=by.name, until=until, reason=sanitize(reason.strip()))
        row.signature = signatures.sign(row)
        row.save(force_insert=True)
        act.before = {"state": change.state}
        move_change(change, to=ChangeState.APPROVED, message=row.summary, expires_at=until)
        act.after = {"state": ChangeState.APPROVED, "digest": change.digest, "until": until}
        release(change)
        events.record(RunEvent.Kind.OVERRIDE_USED, change=change, data={"by": by.name, "reason": row.reason})
        return row


def require_few(change: ChangeRequest) -> None:
    """Refuse to override the approvals of what has no fixed runs, or too many to review afterwards."""
    is_mapped = change.specs.exclude(mapped={}).exists()
    if change.kind not in ChangeRequest.FIXED or is_mapped or change.run_requests.count() > MOST_RUNS:
        raise Refused(
            "override.too_many",
            f"An emergency override is for at most {MOST_RUNS} runs with fixed values. Submit those that are urgent by "
            "themselves.",
            limit=MOST_RUNS,
        )


def review(row: BreakGlass, *, by: Actor, was_right: bool, text: str) -> None:
    """Record whether an emergency override was justified; by someone who can approve and had no part in it."""
    change = row.change
    with audit.act("request.review", change.subject, by=by, reason=text, ticket=change.ticket) as act:
        # Neither the person who used it nor those who wanted the run can judge it.
        had_part = by.user.pk in (row.by_id, change.requested_by_id, change.on_behalf_of_id)
        if had_part or owns(by.user, change.requested_by_id):
            raise Refused("review.own", "This must be reviewed by someone who had no part in it.")
        require_for_all(change, Verb.APPROVE, by, with_values=True)
        involved = involved_in(change, row.by_id, by.user.pk)
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
        publish_change(change)


def override(run_request: RunRequest, *, by: Actor, reason: str) -> None:
    """Launch a request that waits for a change window or the end of a freeze. Approvals are still required."""
    with audit.act("request.override", run_request, by=by, reason=reason, ticket=run_request.change.ticket) as act:
        lock_run(run_request)
        require(by, Verb.OVERRIDE_FREEZE, run_request.deployment, values_of(run_request))
        if not reason.strip():
            raise Refused("window.reason_required", "Give a reason for starting outside the change window.")
        if run_request.state not in (State.HELD, State.APPROVED) or run_request.overridden_at:
            raise Refused("window.not_waiting", f"Request {run_request.pk} is not waiting for a change window.")
        # The reason for waiting is about to be replaced; the trail keeps it.
        act.before = {"state": run_request.state, "waited_for": run_request.message}
        RunRequest.objects.filter(pk=run_request.pk).update(
            overridden_at=timezone.now(),
            overridden_by_name=by.name,
            next_attempt_at=None,
            message=f"Change window overridden by {by.name}.",
        )
        act.after = {"overridden_by": by.name, "digest": run_request.change.digest}
        # One that still waits for approval is launched by its last approval.
        if run_request.state == State.APPROVED:
            queue.enqueue("runs.tasks.launch", run_request.pk)
        publish("request", [run_request.pk])
