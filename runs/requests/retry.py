"""Retry a failed run in place: the same flow run starts again. `runs.dispatch` carries it out."""

from __future__ import annotations

from flows import definition
from flows.wording import deployment_name
from runs import actions, audit
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import windows
from runs.governance.requirements import Requirements, requirements_of
from runs.models import Action, ChangeRequest, Run, RunRequest, Verb
from runs.models.action import OPEN, Kind, State
from runs.requests.cancel import locked
from runs.requests.destructive import is_destructive
from runs.requests.frozen_values import values_of
from runs.requests.offered_values import require_still_offered
from runs.requests.profile_rules import require_still_valid
from runs.requests.rules import require_submittable
from runs.requests.spec import Spec
from runs.requests.submit import submit_change

# A run that completed or was cancelled did what was asked of it: to have it again is another request.
RETRYABLE = frozenset({"FAILED", "CRASHED"})


def retry(run: Run, *, by: Actor, reason: str = "", ticket: str = "") -> Action | ChangeRequest:
    """Have Prefect start a failed run of a request again, with the same parameters and as the same flow run.

    Where a run needs an approval, so does a retry, unless the request was approved with retries and one is left: the
    change request for it is returned. Raises `Forbidden`, or `Refused` unless it could be started now.
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
        if needs_new_approval(run_request, requirements) and not retries_left(run_request):
            # The entry is that of the submission.
            act.is_repeat = True
            return request_retry(run_request, by=by, reason=reason, ticket=ticket)
        require_start_now(run_request)
        action = create_retry(run, by=by, reason=reason, ticket=ticket)
        act.before = {"state": run.state_type, "attempts": run.run_count}
        act.after = {"action": action.pk, "request": run_request.pk}
        return action


def create_retry(run: Run, *, by: Actor, reason: str, ticket: str, change: ChangeRequest | None = None) -> Action:
    """Insert and queue the action; `change` is the change request by whose approval it was decided."""
    return actions.create(
        Kind.RETRY,
        run,
        before={"state_id": str(run.state_id), "state": run.state_type, "stalled": ""},
        reason=reason,
        ticket=ticket,
        by=by,
        by_name=by.name,
        change=change,
    )


def request_retry(run_request: RunRequest, *, by: Actor, reason: str, ticket: str) -> ChangeRequest:
    """Submit a change request for one retry: what would run is frozen once more, as it is deployed now."""
    waiting = ChangeRequest.objects.filter(
        kind=ChangeRequest.Kind.RETRY, state=ChangeRequest.State.WAITING, specs__rerun_of=run_request
    ).first()
    if waiting:
        raise Refused(
            "retry.pending",
            f"{waiting.requested_by_name} has already requested a retry: change request {waiting.pk}.",
            requested_by=waiting.requested_by_name,
        )
    spec = Spec(
        run_request.deployment,
        values_of(run_request),
        tags=run_request.spec.tags,
        run_name=run_request.spec.run_name,
        profile=run_request.spec.profile_name,
        rerun_of=run_request,
    )
    return submit_change([spec], by=by, kind=ChangeRequest.Kind.RETRY, reason=reason, ticket=ticket)


def retries_left(run_request: RunRequest, *, besides: Action | None = None) -> int:
    """Return how many retries that were approved with the run are left; none after an emergency override."""
    change = run_request.change
    # Most requests have none: lists ask for many, and the rest costs queries.
    if not change.needs_approval or not run_request.spec.retries or hasattr(change, "break_glass"):
        return 0
    used = Action.objects.filter(run=run_request.run_id, kind=Kind.RETRY, change=None, state__in=[*OPEN, State.DONE])
    others = used.exclude(pk=besides.pk) if besides else used
    return run_request.spec.retries - others.count()


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
            "retry.external",
            f"{run} was started outside the portal. Request a run of {deployment_name(run.what)} with its parameters.",
        )
    return run_request


def require_retry_allowed(run: Run, run_request: RunRequest, permissions: Permissions) -> Requirements:
    """Refuse a retry that would not be allowed as a start; asked when it is requested and again when it is sent.

    Returns what a start requires, among which approvals are the caller's to check.
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
    require_still_valid(run_request)
    # 2. What a form would ask for.
    if is_destructive(deployment, values):
        raise Refused(
            "retry.destructive",
            f"This run of {deployment} deletes data, so it is not retried in place. Request the run again.",
        )
    requirements = requirements_of(run_request.change, Target.of(deployment))
    requirements.require_pinned(
        str(deployment), definition.with_profile(deployment.definition, run_request.spec.profile)
    )
    return requirements


def require_start_now(run_request: RunRequest) -> None:
    """Refuse outside change windows and during a freeze: Prefect starts the run at once, nothing holds it back.

    An override of the first start does not count for this one.
    """
    standing = windows.standing(Target.of(run_request.deployment))
    if not standing:
        raise Refused("window.closed", f"{standing.sentence} Retry the run when runs may start again.")


def needs_new_approval(run_request: RunRequest, requirements: Requirements) -> bool:
    """Return whether others must approve before the run of this request starts once more.

    An approval is for one start: what needed it then, or would need it now, needs another.
    """
    return run_request.change.needs_approval or bool(requirements.stages)
