"""What the reader may do with a request, and why not: one door for each button on its page."""

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
from runs.models import BreakGlass, RunRequest, Verb
from runs.models.request import State


@dataclass(frozen=True, slots=True)
class Action:
    """Whether a button is shown, and if not, why not; an empty sentence says that there is nothing to explain."""

    is_open: bool
    why_not: str = ""


NOT_ALLOWED = Action(False)


@dataclass(frozen=True, slots=True)
class Actions:
    """`reject` stays open to earlier approvers, who may change their mind."""

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
        glass: BreakGlass | None,
    ) -> Actions:
        """`standing` is None for a request whose start is behind it."""
        reject = can_decide(run_request, permissions)
        return cls(
            can_approve(run_request, permissions) if reject.is_open else reject,
            reject,
            can_withdraw(run_request, permissions),
            can_break_glass(run_request, permissions),
            can_override(run_request, permissions, standing),
            can_review(run_request, permissions, glass),
        )


def can_decide(run_request: RunRequest, permissions: Permissions) -> Action:
    if run_request.state != State.WAITING or permissions.user.pk == run_request.requested_by_id:
        return NOT_ALLOWED
    if permissions.user.pk == run_request.on_behalf_of_id:
        return Action(False, "It is asked for on your behalf: somebody else must answer it.")
    if run_request.expires_at and run_request.expires_at <= timezone.now():
        return Action(False, "Nobody answered in time. It has to be asked for again.")
    try:
        return action(permissions.decide(Verb.APPROVE, run_request.deployment, requests.values_of(run_request)))
    except encryption.DecryptionError as sealed:
        return Action(False, str(sealed))


def can_approve(run_request: RunRequest, permissions: Permissions) -> Action:
    """For people who may approve or reject."""
    if not isinstance(permissions.user, User):
        return NOT_ALLOWED
    if any(each.by_id == permissions.user.pk for each in changes.approvers_of(run_request)):
        return Action(False, "You approved it: somebody else must be the next. You may still reject it.")
    try:
        changes.step_for(run_request, permissions.user)
    except Refused as refusal:
        return Action(False, f"{refusal} You may still reject it.")
    return Action(True)


def can_withdraw(run_request: RunRequest, permissions: Permissions) -> Action:
    if run_request.state not in changes.LEGAL_FROM[State.WITHDRAWN]:
        return NOT_ALLOWED
    if run_request.requested_by_id == permissions.user.pk:
        return Action(True)
    # Who did not ask and may not cancel expects no such button.
    return Action(permissions.decide(Verb.CANCEL, run_request.deployment).allowed)


def can_break_glass(run_request: RunRequest, permissions: Permissions) -> Action:
    if run_request.state != State.WAITING:
        return NOT_ALLOWED
    return Action(permissions.decide(Verb.BREAK_GLASS, run_request.deployment, values_of(run_request)).allowed)


def can_override(run_request: RunRequest, permissions: Permissions, standing: windows.Standing | None) -> Action:
    if standing is None or standing or run_request.overridden_at:
        return NOT_ALLOWED
    return Action(permissions.decide(Verb.OVERRIDE_FREEZE, run_request.deployment, values_of(run_request)).allowed)


def can_review(run_request: RunRequest, permissions: Permissions, glass: BreakGlass | None) -> Action:
    if glass is None or glass.reviewed_at:
        return NOT_ALLOWED
    if permissions.user.pk in (glass.by_id, run_request.requested_by_id, run_request.on_behalf_of_id):
        return Action(False, "Somebody who had no part in it has to review this.")
    return action(permissions.decide(Verb.APPROVE, run_request.deployment, values_of(run_request)))


def action(decision: Decision) -> Action:
    return Action(decision.allowed, "" if decision.allowed else decision.sentence)
