"""Context of the page of a change request that is not for one run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from portal.admin.changes import rule_columns
from portal.admin.requests.activity import Moment
from portal.admin.requests.allowed_actions import NOT_ALLOWED, Action
from runs import changes
from runs.actors import Actor
from runs.audit import signatures
from runs.errors import Refused
from runs.governance.independence import require_own_password
from runs.models import ChangeRequest

State = ChangeRequest.State
# State -> sentence below the title, where the row has no message of its own.
MEANINGS: dict[str, str] = {
    State.WAITING: "Not in effect yet. Another administrator must approve it.",
    State.REJECTED: "Rejected. Nothing was changed.",
    State.WITHDRAWN: "Cancelled by its requester. Nothing was changed.",
    State.EXPIRED: "Expired without a decision. Nothing was changed.",
}


def context(change: ChangeRequest, by: Actor) -> dict[str, Any]:
    """Build the template context; select the rule change and the environment with `change`."""
    approve = can_approve(change, by)
    return {
        "change": change,
        "rules": change.rule_change,
        "sentence": "Your approval is needed."
        if approve.is_allowed
        else change.message or MEANINGS.get(change.state, ""),
        "rows": rule_columns.rows(change.rule_change),
        "approve": approve,
        "reject": can_reject(change, by),
        "withdraw": Action(change.state == State.WAITING and by.is_same_person_as(change.requested_by_id)),
        "account_changes": changes.involved_in(change).own_changes(),
        "moments": moments(change),
        "short_digest": change.digest[:12],
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
    """Return whether the service would let the actor decide; why not only to administrators, who expect the button."""
    if change.state != State.WAITING or not by.is_administrator or by.is_same_person_as(change.requested_by_id):
        return NOT_ALLOWED
    try:
        act()
    except Refused as refusal:
        return Action(False, refusal.message, refusal.code)
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
