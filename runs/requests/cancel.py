"""Request the cancellation of a run. `runs.dispatch` sends it, `runs.changes.settle` closes it."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from flows.db_text import sanitize
from runs import audit, queue
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.change_feed import publish
from runs.errors import Refused
from runs.governance.requirements import requirements_for
from runs.models import Cancellation, Run, Verb

# How long an ordinary cancellation gets before it can be forced. Prefect confirms one in 4 to 5 s while a worker runs.
PATIENCE = timedelta(minutes=2)


def cancel(run: Run, *, by: Actor, reason: str = "", ticket: str = "") -> Cancellation:
    """Request the cancellation of a run.

    Raises `Forbidden`, or `Refused` when the run has finished or a cancellation is pending.
    """
    with audit.act("run.cancel", run, by=by, reason=reason, ticket=ticket) as act:
        run = locked(run)
        require(by, Verb.CANCEL, Target.of_run(run))
        require_cancellable(run, reason, ticket)
        # Prefect gets one cancellation at a time, and the second person learns who requested it.
        earlier = run.cancellations.filter(state__in=Cancellation.OPEN).first()
        if earlier:
            raise Refused(
                "cancellation.pending",
                f"{earlier.requested_by_name} has already requested this. Prefect has not confirmed it yet.",
                requested_by=earlier.requested_by_name,
            )
        return request_cancellation(run, act, reason, ticket, is_forced=False)


def force_cancel(run: Run, *, by: Actor, reason: str = "", ticket: str = "") -> Cancellation:
    """Request that Prefect marks a run as cancelled although nothing confirms it.

    For a run whose worker is gone. A process that is still alive goes on, and can overwrite the state with its own: an
    ordinary cancellation must have been requested before, and have had time to take effect.
    """
    with audit.act("run.force_cancel", run, by=by, reason=reason, ticket=ticket) as act:
        run = locked(run)
        require(by, Verb.FORCE_CANCEL, Target.of_run(run))
        require_cancellable(run, reason, ticket)
        # Always required, whatever the policy: later it is the only evidence that the process had stopped.
        if not reason.strip():
            raise Refused("force.reason_required", "Describe how you know that its process has stopped.")
        earlier = run.cancellations.filter(state__in=Cancellation.OPEN).first()
        if earlier is None or earlier.is_forced or earlier.requested_at > timezone.now() - PATIENCE:
            minutes = PATIENCE // timedelta(minutes=1)
            raise Refused(
                "force.too_early",
                f"Cancel {run} first, then wait {minutes} minutes for the cancellation to take effect.",
                minutes=minutes,
            )
        # Closed first: a constraint allows one open cancellation for each run.
        Cancellation.objects.filter(pk=earlier.pk).update(
            state=Cancellation.State.FAILED, message="Replaced by a forced cancellation.", settled_at=timezone.now()
        )
        return request_cancellation(run, act, reason, ticket, is_forced=True)


def cancel_moved(run: Run, *, reason: str) -> Cancellation | None:
    """Request the cancellation of a run whose deployment changed after the approval, as a policy requires.

    Returns None when it has ended, or is being cancelled already.
    """
    with audit.act("run.cancel", run, by=Actor.system(), reason=reason) as act:
        run = locked(run)
        is_pending = run.cancellations.filter(state__in=Cancellation.OPEN).exists()
        if run.is_over or is_pending:
            act.is_repeat = True
            return None
        return request_cancellation(run, act, reason, "", is_forced=False)


def locked(run: Run) -> Run:
    """Return the run with its row lock: two people who cancel at once must not both succeed."""
    return (
        Run.objects.select_for_update(of=["self"])
        .select_related("environment", "access_deployment__environment")
        .get(pk=run.pk)
    )


def require_cancellable(run: Run, reason: str, ticket: str) -> None:
    """Refuse to cancel a run that is over or deleted, or without the required reason or ticket."""
    if run.is_terminal:
        raise Refused("run.finished", f"{run} has already finished: {run.state_label}.", state=run.state_type)
    if run.deleted_upstream_at:
        raise Refused("run.gone", f"{run} no longer exists in Prefect, so there is nothing to cancel.")
    requirements_for(Target.of_run(run)).require_reason_and_ticket("cancel", reason=reason, ticket=ticket)


def request_cancellation(run: Run, act: audit.Act, reason: str, ticket: str, *, is_forced: bool) -> Cancellation:
    """Create the cancellation and queue it."""
    cancellation = Cancellation.objects.create(
        run=run,
        reason=sanitize(reason),
        ticket=sanitize(ticket)[:100],
        is_forced=is_forced,
        requested_by=act.by.holder,
        requested_by_name=act.by.name,
    )
    # Same transaction as the row: a task never runs for a cancellation that was rolled back.
    act.before = {"state": run.state_type}
    act.after = {"cancellation": cancellation.pk}
    queue.enqueue("runs.tasks.cancel_run", cancellation.pk)
    publish("run", [run.pk])
    return cancellation
