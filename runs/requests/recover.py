"""Decide what is done about a stalled run. `runs.dispatch` carries it out."""

from __future__ import annotations

from flows.models import Environment
from runs import actions, audit, stalls
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import windows
from runs.governance.in_scope import left_scope, require_in_scope
from runs.governance.requirements import requirements_for
from runs.models import Action, Run, RunRequest, Verb
from runs.models.action import OPEN, RECOVERIES, Kind
from runs.requests.cancel import locked, open_cancellation

# Recorded as the reason of what the portal does by itself.
AUTOMATIC = "Every worker that can have picked the run up is offline, and no process was started."


def put_back(run: Run, *, by: Actor, reason: str, ticket: str = "") -> Action:
    """Put a run that a worker has claimed and not started back to Scheduled, so that another worker starts it.

    Raises `Forbidden`, or `Refused` unless the run is stalled and may start now.
    """
    with audit.act("run.put_back", run, by=by, reason=reason, ticket=ticket) as act:
        run = locked(run)
        require(by, Verb.PUT_BACK, Target.of_run(run))
        require_recoverable(run, Kind.PUT_BACK)
        require_window(run)
        require_reason(run, "put back", reason, ticket)
        return request_recovery(run, act, Kind.PUT_BACK)


def mark_failed(run: Run, *, by: Actor, reason: str, ticket: str = "") -> Action:
    """Mark a stalled run as failed. A process that is still alive goes on and can overwrite it.

    Raises `Forbidden`, or `Refused` unless the run is stalled.
    """
    with audit.act("run.mark_failed", run, by=by, reason=reason, ticket=ticket) as act:
        run = locked(run)
        require(by, Verb.FORCE_CANCEL, Target.of_run(run))
        require_recoverable(run, Kind.FAIL)
        require_reason(run, "mark as failed", reason, ticket)
        return request_recovery(run, act, Kind.FAIL)


def put_back_automatically(run: Run) -> Action:
    """Put a run back without a person: once a run, and never in a protected environment.

    The caller has found that the worker that claimed it is gone. Raises `Refused`.
    """
    with audit.act("run.put_back", run, by=Actor.system(), reason=AUTOMATIC) as act:
        run = locked(run)
        require_automatic(run)
        if run.actions.filter(kind__in=RECOVERIES, is_automatic=True).exists():
            raise Refused("recovery.repeated", f"{run} was put back automatically before. A person must decide now.")
        require_recoverable(run, Kind.PUT_BACK)
        require_window(run)
        return request_recovery(run, act, Kind.PUT_BACK, is_automatic=True)


def require_automatic(run: Run) -> None:
    """Refuse to act without a person where the environment does not allow it; reads its rules again."""
    environment = Environment.objects.get(pk=run.environment_id)
    if environment.is_protected or not environment.puts_back or not environment.is_active:
        raise Refused(
            "recovery.not_automatic", f"Stalled runs are not put back automatically in {environment}.", run=str(run)
        )


def require_recoverable(run: Run, kind: Kind) -> None:
    """Refuse unless the run is stalled in a way for which this helps, and nothing else is in progress."""
    if run.is_terminal:
        raise Refused("run.finished", f"{run} has already finished: {run.state_label}.", state=run.state_type)
    if run.deleted_upstream_at:
        raise Refused("run.gone", f"{run} no longer exists in Prefect.")
    if kind not in stalls.recovery_kinds(run):
        raise Refused(
            "run.not_stalled",
            f"{run} is not stalled in a way for which “{kind.label}” helps. Reload the page to see its state.",
            stalled=run.stalled_kind,
        )
    open_recovery = run.actions.filter(kind__in=RECOVERIES, state__in=OPEN).first()
    if open_recovery:
        raise Refused(
            "recovery.pending",
            f"{open_recovery.requested_by_name} has already requested “{open_recovery.get_kind_display()}”.",
            requested_by=open_recovery.requested_by_name,
        )
    # A run that is put back starts: of a deployment that left its scope, or was assigned elsewhere, none does.
    deployment = run.access_deployment
    if kind == Kind.PUT_BACK and run.environment.is_scoped and deployment:
        require_in_scope(deployment)
        if deployment.deleted_upstream_at:
            raise left_scope(deployment)
    # A run that is to be cancelled must not be started again.
    if kind == Kind.PUT_BACK and open_cancellation(run):
        raise Refused("cancellation.pending", f"A cancellation of {run} was requested. Wait for it, or run it again.")


def require_window(run: Run) -> None:
    """Refuse to put a run back while a window or a freeze does not let it start: Prefect would start it at once."""
    overridden = RunRequest.objects.filter(run=run, overridden_at__isnull=False).exists()
    standing = windows.standing(Target.of_run(run))
    if not standing and not overridden:
        raise Refused("window.closed", f"{standing.sentence} Put the run back when runs may start again.")


def require_reason(run: Run, what: str, reason: str, ticket: str) -> None:
    # Always required, whatever the policy: later it is the only evidence of what was known about the process.
    if not reason.strip():
        raise Refused("recovery.reason_required", "Describe how you know that no process is working on the run.")
    requirements_for(Target.of_run(run)).require_reason_and_ticket(what, reason=reason, ticket=ticket)


def request_recovery(run: Run, act: audit.Act, kind: Kind, *, is_automatic: bool = False) -> Action:
    """Create the recovery and queue it, in the transaction of its audit entry."""
    action = actions.create(
        kind,
        run,
        before={"state_id": str(run.state_id), "state": run.state_type, "stalled": run.stalled_kind},
        reason=act.reason,
        ticket=act.ticket,
        by=act.by,
        by_name=act.by.name,
        is_automatic=is_automatic,
    )
    act.before = {"state": run.state_type, "stalled": run.stalled_kind, "since": run.stalled_since}
    act.after = {"action": action.pk, "automatic": is_automatic}
    return action
