"""Context of the page of a change request that is not for one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db.models import prefetch_related_objects
from django.http import QueryDict
from django.utils.text import capfirst

from flows import definition
from portal.admin.changes import backfill_context, chain_context, rule_columns
from portal.admin.requests import parameter_diff
from portal.admin.requests.activity import Moment
from portal.admin.requests.allowed_actions import NOT_ALLOWED, Action
from portal.admin.schedules import page as schedule_page
from runs import changes
from runs.access.decisions import Forbidden, Permissions
from runs.actors import Actor
from runs.audit import signatures
from runs.automation import schedule_listings
from runs.errors import Refused
from runs.failure_causes import explain_failure
from runs.governance.independence import require_own_password
from runs.models import ChangeRequest
from runs.requests import visibility

State = ChangeRequest.State
# Kind -> what its last approval leads to.
DONE: dict[str, str] = {
    ChangeRequest.Kind.RULES: "it is in effect.",
    ChangeRequest.Kind.RETRY: "the run will be retried, if it has not moved.",
    ChangeRequest.Kind.BACKFILL: "its runs are being started.",
    ChangeRequest.Kind.SCHEDULE: "the schedule becomes active.",
    ChangeRequest.Kind.CHAIN: "its first steps are being started.",
}
# State -> sentence below the title, where the row has no message of its own.
MEANINGS: dict[str, str] = {
    State.WAITING: "Not in effect yet. Another administrator must approve it.",
    State.REJECTED: "Rejected. Nothing was changed.",
    State.WITHDRAWN: "Cancelled by its requester. Nothing was changed.",
    State.EXPIRED: "Expired without a decision. Nothing was changed.",
}
BACKFILL_MEANINGS: dict[str, str] = {
    State.WAITING: "Needs approval by someone other than the requester. Nothing has started.",
    State.REJECTED: "Rejected. Nothing will run.",
    State.WITHDRAWN: "Cancelled by its requester. What had not started will not run.",
    State.EXPIRED: "Expired without a decision. Nothing will run.",
}
RETRY_MEANINGS: dict[str, str] = {
    State.WAITING: "Needs approval by someone other than the requester.",
    State.REJECTED: "Rejected. The run is not retried.",
    State.WITHDRAWN: "Cancelled by its requester. The run is not retried.",
    State.EXPIRED: "Expired without a decision. The run is not retried.",
}


def context(change: ChangeRequest, by: Actor, permissions: Permissions, query: QueryDict) -> dict[str, Any]:
    """Build the template context; select the rule change and the environment with `change`."""
    # Stages, buttons and activity all ask for them.
    prefetch_related_objects([change], "approvals")
    approve = can_approve(change, by)
    details: dict[str, Callable[[], dict[str, Any]]] = {
        ChangeRequest.Kind.RULES: lambda: rules_context(change),
        ChangeRequest.Kind.BACKFILL: lambda: backfill_context.context(
            change, by, permissions, query, may_decide=approve.is_allowed
        ),
        ChangeRequest.Kind.SCHEDULE: lambda: schedule_context(change, permissions),
        ChangeRequest.Kind.CHAIN: lambda: chain_context.context(change, by, permissions, may_decide=approve.is_allowed),
        ChangeRequest.Kind.RETRY: lambda: retry_context(change, permissions, may_decide=approve.is_allowed),
    }
    return {
        "change": change,
        "heading": title_of(change),
        "sentence": "Your approval is needed." if approve.is_allowed else change.message or meaning(change),
        "tone": change.state_colour,
        "approvals": [stage_label(step) for step in changes.steps(change)],
        **details[change.kind](),
        "approve": approve,
        "reject": can_reject(change, by),
        "withdraw": Action(change.state == State.WAITING and by.is_same_person_as(change.requested_by_id)),
        "account_changes": changes.involved_in(change).own_changes(),
        "moments": moments(change),
        "short_digest": change.digest[:12],
    }


def title_of(change: ChangeRequest) -> str:
    """Return what it changes or runs, as a sentence without an end."""
    if change.kind == ChangeRequest.Kind.RULES:
        return capfirst("; ".join(change.rule_change.what))
    if change.kind == ChangeRequest.Kind.BACKFILL:
        return backfill_context.title_of(change)
    if change.is_schedule:
        return f"Schedule {change.pacing['schedule']['name']} of {change.title}"
    if change.kind == ChangeRequest.Kind.CHAIN:
        return chain_context.title_of(change)
    return f"Retry of {change.title}"


def meaning(change: ChangeRequest) -> str:
    meanings = {
        ChangeRequest.Kind.RULES: MEANINGS,
        ChangeRequest.Kind.BACKFILL: BACKFILL_MEANINGS,
        ChangeRequest.Kind.SCHEDULE: BACKFILL_MEANINGS,
        ChangeRequest.Kind.CHAIN: BACKFILL_MEANINGS,
    }
    return meanings.get(ChangeRequest.Kind(change.kind), RETRY_MEANINGS).get(change.state, "")


def stage_label(step: changes.Step) -> str:
    given = f": {', '.join(step.given)}" if step.given else ""
    return f"{len(step.given)} of {step.needed} from {step.group or 'anyone who can approve'}{given}"


def describe_progress(change: ChangeRequest) -> str:
    """Tell the approver what the approval led to."""
    left = sum(step.left for step in changes.steps(change))
    return f"Approved. {left} more needed." if left else f"Approved. {capfirst(DONE[change.kind])}"


def schedule_context(change: ChangeRequest, permissions: Permissions) -> dict[str, Any]:
    schedule = schedule_listings.visible_to(permissions).select_related("replaces__spec").get(change=change)
    return schedule_page.change_context(schedule, permissions)


def rules_context(change: ChangeRequest) -> dict[str, Any]:
    return {"rules": change.rule_change, "rows": rule_columns.rows(change.rule_change)}


def retry_context(change: ChangeRequest, permissions: Permissions, *, may_decide: bool) -> dict[str, Any]:
    """Return the run that would be retried, why it failed, its parameters, and what changed about its deployment."""
    spec = change.specs.select_related("deployment__environment", "rerun_of__run__environment").get()
    run_request = spec.rerun_of
    if run_request is None:
        return {"spec": spec}
    run = run_request.run
    sees = may_decide or visibility.can_view_parameters(permissions, run_request)
    against = parameter_diff.columns(spec.deployment, None, None)
    values, note = parameter_diff.masked_with_note(run_request)
    return {
        "spec": spec,
        "run_request": run_request,
        "run": run,
        "failure": explain_failure(visibility.muted(run, permissions)) if run else "",
        "sees_inputs": sees,
        "against": against,
        "rows": parameter_diff.rows(values, spec.deployment, against) if sees else [],
        "parameters_note": note if sees else "",
        "redeployed": definition.changed_fields(run_request.spec.definition, spec.definition),
    }


def can_approve(change: ChangeRequest, by: Actor) -> Action:
    def act() -> None:
        changes.require_decidable(change, by, approves=True)
        changes.step_for(change, by.user)
        changes.involved_in(change, by.user.pk).require_independent(by.user)
        require_own_password(by.user)

    return decision(change, by, act)


def can_reject(change: ChangeRequest, by: Actor) -> Action:
    return decision(change, by, lambda: changes.require_decidable(change, by, approves=False))


def decision(change: ChangeRequest, by: Actor, act: Callable[[], None]) -> Action:
    """Return whether the service would let the actor decide; why not only where they could expect the button."""
    if change.state != State.WAITING or by.is_same_person_as(change.requested_by_id):
        return NOT_ALLOWED
    try:
        act()
    except Forbidden:
        return NOT_ALLOWED
    except Refused as refusal:
        return (
            NOT_ALLOWED if refusal.code == "rules.administrators_only" else Action(False, refusal.message, refusal.code)
        )
    return Action(True)


def moments(change: ChangeRequest) -> list[Moment]:
    """List the activity, newest first."""
    found = [Moment(change.requested_at, "requested", "Requested", "blue", change.requested_by_name, change.reason)]
    for each in change.approvals.all():
        what, tone = ("Approved", "green") if each.approved else ("Rejected", "red")
        if not signatures.is_signed(each):
            what, tone = f"{what}, not signed by the portal", "red"
        found.append(Moment(each.at, what.lower(), what, tone, each.by_name, each.reason))
    found += [
        Moment(each.at, "commented", "Commented", "grey", each.by_name, each.text) for each in change.comments.all()
    ]
    if change.state in (State.WITHDRAWN, State.EXPIRED, State.CLOSED):
        found.append(Moment(change.changed_at, "closed", change.state_label, change.state_colour))
    if change.state == State.WAITING and change.expires_at:
        found.append(Moment(change.expires_at, "expires", "Expires without a decision", "grey"))
    return sorted(found, key=lambda each: each.at, reverse=True)
