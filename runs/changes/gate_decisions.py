"""Let a step of a chain that waits at its gate start, or reject it: the only code that writes `StepDecision`."""

from __future__ import annotations

from flows.db_text import sanitize
from runs import audit, queue
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.audit import signatures
from runs.changes import gates, launch_results
from runs.changes.approvals import involved_in, lock, require_decidable
from runs.changes.release import beyond_approved, invalid_names, mapping_error, release
from runs.changes.states import ChangeState, move
from runs.errors import Refused
from runs.governance.independence import require_own_password
from runs.models import ChangeRequest, RunRequest, StepDecision, Verb
from runs.models.request import State
from runs.requests.frozen_values import values_of


def let_go(run_request: RunRequest, *, by: Actor, reason: str = "") -> None:
    """Let a step start that waits at its gate, with the values that it has.

    Raises `Forbidden`, or `Refused` with code `gate.…` or one of an approval.
    """
    change = run_request.change
    with audit.act("chain.let_go", run_request, by=by, reason=reason, ticket=change.ticket) as act:
        waits_for = require_at_gate(run_request)
        require_may_decide(run_request, by, allows=True)
        if error := mapping_error(run_request.spec, run_request.mapped_values) or invalid_names(run_request):
            raise Refused("gate.unfit", f"Request {run_request.pk} cannot start with these values. {error} Reject it.")
        if waits_for != gates.AT_GATE and not reason.strip():
            raise Refused("gate.reason_required", "Give a reason for letting it start: it was not approved so.")
        record(run_request, True, by=by, reason=reason)
        release(change)
        # Of a step that is a backfill the other runs follow.
        queue.enqueue("runs.tasks.advance_chain", change.pk)
        act.before = {"state": State.HELD, "waited_for": waits_for}
        act.after = {"digest": change.digest}


def reject_step(run_request: RunRequest, *, by: Actor, reason: str) -> None:
    """Reject a step that waits at its gate: it counts as failed. Raises as `let_go`."""
    change = run_request.change
    with audit.act("chain.reject", run_request, by=by, reason=reason, ticket=change.ticket) as act:
        waits_for = require_at_gate(run_request)
        require_may_decide(run_request, by, allows=False)
        if not reason.strip():
            raise Refused("rejection.reason_required", "Give a reason for the rejection. The requester will see it.")
        record(run_request, False, by=by, reason=reason)
        move(run_request, to=State.REJECTED, message=sanitize(reason.strip()))
        queue.enqueue("runs.tasks.advance_chain", change.pk)
        act.before = {"state": State.HELD, "waited_for": waits_for}
        act.after = {"digest": change.digest}


def require_at_gate(run_request: RunRequest) -> str:
    """Lock the change request and the step, and return what the step waits for; refuse one that waits for no person."""
    change = run_request.change
    if change.kind != ChangeRequest.Kind.CHAIN:
        raise Refused("gate.none", f"Request {run_request.pk} is not a step of a chain.")
    lock(change)
    launch_results.lock(run_request)
    run_request.change = run_request.spec.change = change
    reason = why_waiting(run_request)
    if not reason or change.state != ChangeState.APPROVED:
        raise Refused(
            "gate.none",
            f"Request {run_request.pk} waits for no decision at a gate. Reload the page.",
            state=run_request.state,
        )
    return reason


def why_waiting(run_request: RunRequest) -> str:
    """Return what a step waits for that a person can decide; empty when it waits for nothing like that."""
    if run_request.state != State.HELD or gates.is_let_go(run_request):
        return ""
    spec, values = run_request.spec, run_request.mapped_values
    return (
        gates.why_gated(run_request)
        or mapping_error(spec, values)
        or beyond_approved(spec, values)
        or invalid_names(run_request)
    )


def require_may_decide(run_request: RunRequest, by: Actor, *, allows: bool) -> None:
    """Refuse people who may not decide: where the chain needed an approval, it takes one who could have given it.

    Elsewhere it takes permission to run the step with its values.
    """
    change, deployment, values = run_request.change, run_request.deployment, values_of(run_request)
    if by.agent:
        raise Refused("gate.agent", "Agents do not decide at gates. A person can.")
    permissions = Permissions.of(by)
    if not change.needs_approval:
        permissions.require(Verb.TRIGGER, deployment, values)
        return
    require_decidable(change, by, approves=allows)
    permissions.require(Verb.APPROVE, deployment, values)
    groups = {stage["group"] for stage in change.policy.get("stages", []) if stage["group"]}
    if groups and not by.user.groups.filter(name__in=groups).exists():
        raise Refused(
            "approval.group",
            f"The gates of request {change.pk} are for the groups that approve it: {', '.join(sorted(groups))}.",
            groups=sorted(groups),
        )
    if allows:
        involved_in(change, by.user.pk).require_independent(by.user)
        require_own_password(by.user)


def record(run_request: RunRequest, is_allowed: bool, *, by: Actor, reason: str) -> None:
    row = StepDecision(
        change=run_request.change,
        run_request=run_request,
        is_allowed=is_allowed,
        by=by.user,
        by_name=by.name,
        reason=sanitize(reason.strip()),
    )
    row.signature = signatures.sign(row)
    row.save(force_insert=True)
