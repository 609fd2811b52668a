"""The actions that the current user can take on a request, and why the others are not available."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.utils import timezone

from flows import encryption
from runs import changes, requests
from runs.access.decisions import Decision, Permissions
from runs.changes.queries import values_of
from runs.errors import Refused
from runs.governance import windows
from runs.governance.independence import require_own_password
from runs.models import BreakGlass, ChangeRequest, RunRequest, Verb
from runs.models.request import State


@dataclass(frozen=True, slots=True)
class Action:
    """Whether a button is shown. `why_not` and its `code` are empty where there is nothing to explain."""

    is_allowed: bool
    why_not: str = ""
    code: str = ""


NOT_ALLOWED = Action(False)


@dataclass(frozen=True, slots=True)
class Actions:
    """One action per button. `reject` stays allowed to people who have approved: they can change their mind."""

    approve: Action
    reject: Action
    withdraw: Action
    break_glass: Action
    override: Action
    review: Action

    @classmethod
    def of(
        cls,
        run_request: RunRequest,
        permissions: Permissions,
        standing: windows.Standing | None,
        emergency: BreakGlass | None,
    ) -> Actions:
        """Check every action; `standing` is None for a request that has been sent or closed."""
        if run_request.change.kind != ChangeRequest.Kind.RUN:
            # It is decided about as a whole, on the page of the change request, or at the gate of a step.
            override = can_override(run_request, permissions, standing)
            return cls(NOT_ALLOWED, NOT_ALLOWED, NOT_ALLOWED, NOT_ALLOWED, override, NOT_ALLOWED)
        reject = can_decide(run_request, permissions)
        return cls(
            # People who cannot reject cannot approve either, for the same reason.
            can_approve(run_request, permissions) if reject.is_allowed else reject,
            reject,
            can_withdraw(run_request, permissions),
            can_break_glass(run_request, permissions),
            can_override(run_request, permissions, standing),
            can_review(run_request, permissions, emergency),
        )


def can_decide(run_request: RunRequest, permissions: Permissions) -> Action:
    """Check whether the user can reject, which every approver can at any stage."""
    # Requesters are told nothing: the page says already that someone else must approve.
    if run_request.state != State.HELD or permissions.user.pk == run_request.change.requested_by_id:
        return NOT_ALLOWED
    # The task that expires requests runs once a minute; until then the state still says "waiting".
    if run_request.change.expires_at and run_request.change.expires_at <= timezone.now():
        return Action(False, "Expired without a decision. Submit a new request.", "request.expired")
    try:
        return action_from(permissions.decide(Verb.APPROVE, run_request.deployment, requests.values_of(run_request)))
    except encryption.DecryptionError as error:
        return Action(False, str(error), "key.unreadable")


def can_approve(run_request: RunRequest, permissions: Permissions) -> Action:
    """Check the stage that is due; call it only where `can_decide` allows."""
    if not isinstance(permissions.user, User):
        return NOT_ALLOWED
    if permissions.user.pk == run_request.change.on_behalf_of_id:
        why_not = "Requested on your behalf: someone else must approve it. You can still reject it."
        return Action(False, why_not, "approval.own")
    if any(each.by_id == permissions.user.pk for each in changes.approvers_of(run_request.change)):
        why_not = "You have already approved this. The next approval must come from someone else."
        return Action(False, f"{why_not} You can still reject it.", "approval.twice")
    try:
        changes.step_for(run_request.change, permissions.user)
        changes.involved_in(run_request.change, permissions.user.pk).require_independent(permissions.user)
        require_own_password(permissions.user)
    except Refused as refusal:
        return Action(False, f"{refusal} You can still reject it.", refusal.code)
    return Action(True)


def can_withdraw(run_request: RunRequest, permissions: Permissions) -> Action:
    if run_request.state not in changes.LEGAL_FROM[State.WITHDRAWN]:
        return NOT_ALLOWED
    if run_request.change.requested_by_id == permissions.user.pk:
        return Action(True)
    # No explanation: other people without permission to cancel do not expect this button.
    return Action(permissions.decide(Verb.CANCEL, run_request.deployment).allowed)


def can_break_glass(run_request: RunRequest, permissions: Permissions) -> Action:
    if run_request.state != State.HELD:
        return NOT_ALLOWED
    return Action(permissions.decide(Verb.BREAK_GLASS, run_request.deployment, values_of(run_request.spec)).allowed)


def can_override(run_request: RunRequest, permissions: Permissions, standing: windows.Standing | None) -> Action:
    # A standing is true while runs can start: then there is no window to override.
    if standing is None or standing or run_request.overridden_at:
        return NOT_ALLOWED
    return Action(permissions.decide(Verb.OVERRIDE_FREEZE, run_request.deployment, values_of(run_request.spec)).allowed)


def can_review(run_request: RunRequest, permissions: Permissions, emergency: BreakGlass | None) -> Action:
    if emergency is None or emergency.reviewed_at:
        return NOT_ALLOWED
    change = run_request.change
    if permissions.user.pk in (emergency.by_id, change.requested_by_id, change.on_behalf_of_id):
        return Action(False, "It must be reviewed by someone who had no part in it.", "review.own")
    found = action_from(permissions.decide(Verb.APPROVE, run_request.deployment, values_of(run_request.spec)))
    if found.is_allowed and isinstance(permissions.user, User):
        try:
            changes.involved_in(run_request.change, emergency.by_id, permissions.user.pk).require_independent(
                permissions.user
            )
            require_own_password(permissions.user)
        except Refused as refusal:
            return Action(False, refusal.message, refusal.code)
    return found


def action_from(decision: Decision) -> Action:
    return Action(True) if decision else Action(False, decision.sentence, decision.code)
