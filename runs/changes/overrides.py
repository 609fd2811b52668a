"""The ways around the rules, each loud: breaking the glass, its review, and going in spite of a window."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.utils import timezone

from flows.db_text import sanitize
from runs import audit, notifications, queue
from runs.access.decisions import decide, require
from runs.actors import Actor
from runs.change_feed import publish
from runs.changes.approvals import lock
from runs.changes.states import move
from runs.errors import Refused
from runs.models import BreakGlass, RunRequest, Verb
from runs.models.notification import Topic
from runs.models.request import State
from runs.requests.submit import digest, values_of

# How many minutes the glass may be broken for.
MIN_OVERRIDE, MAX_OVERRIDE = 1, 60


def break_glass(run_request: RunRequest, *, by: Actor, reason: str, minutes: int = 15) -> BreakGlass:
    """Let one waiting request go without its approvals; it is sent within `minutes` or not at all, and is reviewed."""
    with audit.act("request.break_glass", run_request, by=by, reason=reason, ticket=run_request.ticket) as act:
        lock(run_request)
        require(by.user, Verb.BREAK_GLASS, run_request.deployment, values_of(run_request))
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
        until = timezone.now() + timedelta(minutes=minutes)
        row = BreakGlass.objects.create(
            run_request=run_request, by=by.user, by_name=by.name, until=until, reason=sanitize(reason.strip())
        )
        act.before = {"state": run_request.state}
        move(run_request, to=State.APPROVED, message=f"{by.name} broke the glass.", expires_at=until)
        act.after = {"state": State.APPROVED, "digest": run_request.digest, "until": until}
        queue.enqueue("runs.tasks.launch", run_request.pk)
        notify_override(row)
        return row


def notify_override(row: BreakGlass) -> None:
    run_request = row.run_request

    def may(person: User) -> bool:
        return decide(person, Verb.SEE, run_request.deployment).allowed

    notifications.notify(
        Topic.BREAK_GLASS,
        run_request.environment,
        f"{row.by_name} broke the glass for {run_request.deployment_name} in {run_request.environment_name}",
        f"{row.by_name} let a run of {run_request.deployment_name} go without its approvals. Reason: {row.reason}. "
        "Somebody else has to review it.",
        target=run_request,
        may=may,
    )


def review(row: BreakGlass, *, by: Actor, was_right: bool, text: str) -> None:
    """Say afterwards whether breaking the glass was right; by somebody who may approve and had no part in it."""
    run_request = row.run_request
    with audit.act("request.review", run_request, by=by, reason=text, ticket=run_request.ticket) as act:
        if by.user.pk in (row.by_id, run_request.requested_by_id, run_request.on_behalf_of_id):
            raise Refused("review.own", "This must be reviewed by someone who had no part in it.")
        require(by.user, Verb.APPROVE, run_request.deployment, values_of(run_request))
        if not text.strip():
            raise Refused("review.text_required", "Describe what the review found.")
        reviewed = BreakGlass.objects.filter(pk=row.pk, reviewed_at=None).update(
            reviewed_by=by.user,
            reviewed_by_name=by.name,
            reviewed_at=timezone.now(),
            was_right=was_right,
            review=sanitize(text.strip())[:1000],
        )
        if not reviewed:
            raise Refused("review.twice", "This override has already been reviewed.")
        act.after = {"was_right": was_right}
        publish("request", [run_request.pk])


def override(run_request: RunRequest, *, by: Actor, reason: str) -> None:
    """Let a request go now that waits for a change window or the end of a freeze."""
    with audit.act("request.override", run_request, by=by, reason=reason, ticket=run_request.ticket) as act:
        lock(run_request)
        require(by.user, Verb.OVERRIDE_FREEZE, run_request.deployment, values_of(run_request))
        if not reason.strip():
            raise Refused("window.reason_required", "Give a reason for starting outside the change window.")
        if run_request.state not in (State.WAITING, State.APPROVED) or run_request.overridden_at:
            raise Refused("window.not_waiting", f"Request {run_request.pk} is not waiting for a change window.")
        act.before = {"state": run_request.state, "waited_for": run_request.message}
        RunRequest.objects.filter(pk=run_request.pk).update(
            overridden_at=timezone.now(), overridden_by_name=by.name, next_attempt_at=None
        )
        act.after = {"overridden_by": by.name}
        if run_request.state == State.APPROVED:
            queue.enqueue("runs.tasks.launch", run_request.pk)
        publish("request", [run_request.pk])
