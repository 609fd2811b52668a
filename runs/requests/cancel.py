"""Request the cancellation of a run. `runs.dispatch` sends it, `runs.mirror` has it settled when the run is over."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone

from runs import actions, audit
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.agents import require_within_budget
from runs.governance.requirements import requirements_for
from runs.models import Action, Run, Verb
from runs.models.action import CANCELS, OPEN, Kind, State

# How long an ordinary cancellation gets before it can be forced. Prefect confirms one in 4 to 5 s while a worker runs.
PATIENCE = timedelta(minutes=2)


def cancel(run: Run, *, by: Actor, reason: str = "", ticket: str = "") -> Action:
    """Request the cancellation of a run.

    Raises `Forbidden`, or `Refused` when the run has finished or a cancellation is pending.
    """
    with audit.act("run.cancel", run, by=by, reason=reason, ticket=ticket) as act:
        run = locked(run)
        require(by, Verb.CANCEL, Target.of_run(run))
        require_agent_may_cancel(run, by)
        require_cancellable(run, reason, ticket)
        # Prefect gets one cancellation at a time, and the second person learns who requested it.
        earlier = open_cancellation(run)
        if earlier:
            raise Refused(
                "cancellation.pending",
                f"{earlier.requested_by_name} has already requested this. Prefect has not confirmed it yet.",
                requested_by=earlier.requested_by_name,
            )
        return request_cancellation(run, act, Kind.CANCEL)


def force_cancel(run: Run, *, by: Actor, reason: str = "", ticket: str = "") -> Action:
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
        earlier = open_cancellation(run)
        if earlier is None or earlier.kind == Kind.FORCE or earlier.requested_at > timezone.now() - PATIENCE:
            minutes = PATIENCE // timedelta(minutes=1)
            raise Refused(
                "force.too_early",
                f"Cancel {run} first, then wait {minutes} minutes for the cancellation to take effect.",
                minutes=minutes,
            )
        # Closed first: a constraint allows one open cancellation for each run.
        actions.move(earlier, to=State.FAILED, message="Replaced by a forced cancellation.")
        return request_cancellation(run, act, Kind.FORCE)


def cancel_automatically(run: Run, *, reason: str) -> Action | None:
    """Request the cancellation of a run by rule: its deployment changed after the approval, or it ran too long.

    Returns None when it has ended, or is being cancelled already.
    """
    with audit.act("run.cancel", run, by=Actor.system(), reason=reason) as act:
        run = locked(run)
        if run.is_over or open_cancellation(run):
            act.is_repeat = True
            return None
        return request_cancellation(run, act, Kind.CANCEL, is_automatic=True)


def locked(run: Run) -> Run:
    """Return the run with its row lock: two people who cancel at once must not both succeed."""
    return (
        Run.objects.select_for_update(of=["self"])
        .select_related("environment", "access_deployment__environment")
        .get(pk=run.pk)
    )


def require_agent_may_cancel(run: Run, by: Actor) -> None:
    """Refuse an agent that would stop the work of others in a protected environment.

    A cancellation takes effect at once and cannot be approved first, so there it is left to people.
    """
    if by.agent is None or not run.environment.is_protected:
        return
    run_request = getattr(run, "run_request", None)
    if run_request is None or run_request.change.agent_id != by.agent.pk:
        raise Refused(
            "agent.cancel_protected",
            f"{run.environment} is protected, and {run} was not requested by {by.name}. A person can cancel it.",
        )


def require_cancellable(run: Run, reason: str, ticket: str) -> None:
    """Refuse to cancel a run that is over or deleted, or without the required reason or ticket."""
    if run.is_terminal:
        raise Refused("run.finished", f"{run} has already finished: {run.state_label}.", state=run.state_type)
    if run.deleted_upstream_at:
        raise Refused("run.gone", f"{run} no longer exists in Prefect, so there is nothing to cancel.")
    requirements_for(Target.of_run(run)).require_reason_and_ticket("cancel", reason=reason, ticket=ticket)


def open_cancellation(run: Run) -> Action | None:
    return run.actions.filter(kind__in=CANCELS, state__in=OPEN).first()


def request_cancellation(run: Run, act: audit.Act, kind: Kind, *, is_automatic: bool = False) -> Action:
    """Create the cancellation and queue it, in the transaction of its audit entry."""
    action = actions.create(
        kind,
        run,
        before={"state_id": str(run.state_id), "state": run.state_type},
        reason=act.reason,
        ticket=act.ticket,
        by=act.by,
        by_name=act.by.requester,
        is_automatic=is_automatic,
    )
    require_within_budget(act.by, is_run=False)
    act.before = {"state": run.state_type}
    act.after = {"action": action.pk}
    return action
