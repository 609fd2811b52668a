"""Retry a failed run in place: the same flow run starts again. `runs.dispatch` carries it out."""

from __future__ import annotations

from runs import actions, audit
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import windows
from runs.governance.requirements import Requirements, requirements_for
from runs.models import Action, Run, RunRequest, Verb
from runs.models.action import OPEN, Kind
from runs.requests.cancel import locked
from runs.requests.destructive import is_destructive
from runs.requests.frozen_values import values_of
from runs.requests.offered_values import require_still_offered
from runs.requests.rules import require_submittable

# A run that completed or was cancelled did what was asked of it: to have it again is another request.
RETRYABLE = frozenset({"FAILED", "CRASHED"})


def retry(run: Run, *, by: Actor, reason: str = "", ticket: str = "") -> Action:
    """Have Prefect start a failed run of a request again, with the same parameters and as the same flow run.

    Raises `Forbidden`, or `Refused` unless it could be started now as a run that needs no approval.
    """
    with audit.act("run.retry", run, by=by, reason=reason, ticket=ticket) as act:
        run = locked(run)
        permissions = Permissions.of(by)
        run_request = request_of(run)
        # Permission first: without it nothing else is revealed.
        permissions.require(verb_for(permissions, run, run_request), Target.of_run(run))
        run_request = require_retryable(run, run_request)
        pending = run.actions.filter(kind=Kind.RETRY, state__in=OPEN).first()
        if pending:
            raise Refused(
                "retry.pending",
                f"{pending.requested_by_name} has already requested a retry of {run}.",
                requested_by=pending.requested_by_name,
            )
        requirements = require_retry_allowed(run, run_request, permissions)
        requirements.require_reason_and_ticket("run", reason=reason, ticket=ticket)
        action = actions.create(
            Kind.RETRY,
            run,
            before={"state_id": str(run.state_id), "state": run.state_type, "stalled": ""},
            reason=reason,
            ticket=ticket,
            by=by,
            by_name=by.name,
        )
        act.before = {"state": run.state_type, "attempts": run.run_count}
        act.after = {"action": action.pk, "request": run_request.pk}
        return action


def request_of(run: Run) -> RunRequest | None:
    """Return the request that the run is of, with what a start needs; None when it was started outside the portal."""
    rows = RunRequest.objects.select_related("environment", "deployment__environment", "change", "spec")
    return rows.filter(run=run).first()


def verb_for(permissions: Permissions, run: Run, run_request: RunRequest | None) -> Verb:
    """Return the verb that a retry needs: as for a re-run, one's own request needs no more than running it."""
    is_own = run_request is not None and run_request.change.requested_by_id == permissions.user.pk
    return Verb.TRIGGER if is_own and not permissions.decide(Verb.RERUN, Target.of_run(run)) else Verb.RERUN


def require_retryable(run: Run, run_request: RunRequest | None) -> RunRequest:
    """Return the request of a run that failed; refuse any other, one that is gone, and one without a request."""
    if run.deleted_upstream_at:
        raise Refused("run.gone", f"{run} no longer exists in Prefect.")
    if run.state_type not in RETRYABLE:
        raise Refused("retry.not_failed", f"{run} has not failed: {run.state_label}.", state=run.state_type)
    if run_request is None:
        raise Refused(
            "retry.external", f"{run} was started outside the portal. Request a run of {run.what} with its parameters."
        )
    return run_request


def require_retry_allowed(run: Run, run_request: RunRequest, permissions: Permissions) -> Requirements:
    """Refuse a retry that would not be allowed as a start now; asked when it is requested and again when it is sent.

    Returns what a start requires. Prefect starts the run at once, so windows and freezes cannot hold it back.
    """
    deployment, values = run_request.deployment, values_of(run_request)
    # 1. The permission for exactly these values, and that the deployment can be run with them.
    permissions.require(verb_for(permissions, run, run_request), deployment, values)
    require_submittable(deployment, scheduled_for=None)
    if deployment.schema_fingerprint != run_request.spec.schema_fingerprint:
        raise Refused(
            "schema.changed", f"The parameters of {deployment} changed after the request. Request the run again."
        )
    require_still_offered(deployment, values)
    # 2. What a form would ask for.
    if is_destructive(deployment, values):
        raise Refused(
            "retry.destructive",
            f"This run of {deployment} deletes data, so it is not retried in place. Request the run again.",
        )
    requirements = requirements_for(Target.of(deployment))
    requirements.require_pinned(str(deployment), deployment.definition)
    require_no_new_approval(run_request, requirements)
    # 3. The time. An override of the first start does not count for this one.
    standing = windows.standing(Target.of(deployment))
    if not standing:
        raise Refused("window.closed", f"{standing.sentence} Retry the run when runs may start again.")
    return requirements


def require_no_new_approval(run_request: RunRequest, requirements: Requirements) -> None:
    if needs_new_approval(run_request, requirements):
        raise Refused(
            "retry.needs_approval",
            f"A run of {run_request.deployment} needs an approval, and so does each retry. Request the run again.",
        )


def needs_new_approval(run_request: RunRequest, requirements: Requirements) -> bool:
    """Return whether others must approve before the run of this request starts once more.

    An approval is for one start: what needed it then, or would need it now, needs another.
    """
    return run_request.change.needs_approval or bool(requirements.stages)
