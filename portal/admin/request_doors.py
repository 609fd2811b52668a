"""What the reader may do with a request, and why not: one door for each button on its page."""

from __future__ import annotations

from dataclasses import dataclass

from django.contrib.auth.models import User
from django.utils import timezone

from flows import vault
from flows.access import Decision, Holding, Refused
from flows.models import Verb
from runs import lifecycle, windows
from runs.inbox import values_of
from runs.models import BreakGlass, RunRequest
from runs.models.request import State


@dataclass(frozen=True, slots=True)
class Door:
    """Whether a button is shown, and if not, why not; an empty sentence says that there is nothing to explain."""

    is_open: bool
    why_not: str = ""


SHUT = Door(False)


@dataclass(frozen=True, slots=True)
class Doors:
    """`reject` is open to whoever approved it before, too: a mind may change, by a new answer."""

    approve: Door
    reject: Door
    withdraw: Door
    break_glass: Door
    override: Door
    review: Door

    @classmethod
    def of(
        cls, run_request: RunRequest, mine: Holding, standing: windows.Standing | None, glass: BreakGlass | None
    ) -> Doors:
        """`standing` is None for a request whose start is behind it."""
        reject = may_answer(run_request, mine)
        return cls(
            may_approve(run_request, mine) if reject.is_open else reject,
            reject,
            may_withdraw(run_request, mine),
            may_break_glass(run_request, mine),
            may_override(run_request, mine, standing),
            may_review(run_request, mine, glass),
        )


def may_answer(run_request: RunRequest, mine: Holding) -> Door:
    if run_request.state != State.WAITING or mine.user.pk == run_request.asked_by_id:
        return SHUT
    if mine.user.pk == run_request.asked_for_id:
        return Door(False, "It is asked for on your behalf: somebody else must answer it.")
    if run_request.expires_at and run_request.expires_at <= timezone.now():
        return Door(False, "Nobody answered in time. It has to be asked for again.")
    try:
        return door(mine.decide(Verb.APPROVE, run_request.deployment, lifecycle.values_of(run_request)))
    except vault.Sealed as sealed:
        return Door(False, str(sealed))


def may_approve(run_request: RunRequest, mine: Holding) -> Door:
    """For whoever may answer."""
    if not isinstance(mine.user, User):
        return SHUT
    if any(each.by_id == mine.user.pk for each in lifecycle.answers(run_request)):
        return Door(False, "You approved it: somebody else must be the next. You may still reject it.")
    try:
        lifecycle.step_for(run_request, mine.user)
    except Refused as refusal:
        return Door(False, f"{refusal} You may still reject it.")
    return Door(True)


def may_withdraw(run_request: RunRequest, mine: Holding) -> Door:
    if run_request.state not in lifecycle.COMES_FROM[State.WITHDRAWN]:
        return SHUT
    if run_request.asked_by_id == mine.user.pk:
        return Door(True)
    # Who did not ask and may not cancel expects no such button.
    return Door(mine.decide(Verb.CANCEL, run_request.deployment).allowed)


def may_break_glass(run_request: RunRequest, mine: Holding) -> Door:
    if run_request.state != State.WAITING:
        return SHUT
    return Door(mine.decide(Verb.BREAK_GLASS, run_request.deployment, values_of(run_request)).allowed)


def may_override(run_request: RunRequest, mine: Holding, standing: windows.Standing | None) -> Door:
    if standing is None or standing or run_request.overridden_at:
        return SHUT
    return Door(mine.decide(Verb.OVERRIDE_FREEZE, run_request.deployment, values_of(run_request)).allowed)


def may_review(run_request: RunRequest, mine: Holding, glass: BreakGlass | None) -> Door:
    if glass is None or glass.reviewed_at:
        return SHUT
    if mine.user.pk in (glass.by_id, run_request.asked_by_id, run_request.asked_for_id):
        return Door(False, "Somebody who had no part in it has to review this.")
    return door(mine.decide(Verb.APPROVE, run_request.deployment, values_of(run_request)))


def door(decision: Decision) -> Door:
    return Door(decision.allowed, "" if decision.allowed else decision.sentence)
