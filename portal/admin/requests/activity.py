"""The activity of a request: what happened to it, and what will happen, as lines with a time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from runs.audit import signatures
from runs.models import Approval, BreakGlass, RunRequest
from runs.models.request import State


@dataclass(frozen=True, slots=True)
class Moment:
    """One line of the activity of a request; an `at` in the future is what will happen."""

    at: datetime
    kind: str
    what: str
    tone: str
    by: str = ""
    note: str = ""


def moments(run_request: RunRequest, emergency: BreakGlass | None) -> list[Moment]:
    """List the activity, newest first."""
    run = run_request.run
    change = run_request.change
    found = [Moment(run_request.requested_at, "requested", "Requested", "blue", change.requester, change.reason)]
    found += [decided(each, run_request) for each in run_request.change.approvals.all()]
    found += [
        Moment(each.at, "commented", "Commented", "grey", each.by_name, each.text)
        for each in run_request.change.comments.all()
    ]
    found += overrides(run_request, emergency)
    if run_request.launched_at:
        note = f"{ordinal(run_request.attempts)} attempt" if run_request.attempts > 1 else ""
        found.append(Moment(run_request.launched_at, "sent", "Sent to Prefect", "blue", note=note))
    if run and run.started_at:
        found.append(Moment(run.started_at, "started", "Run started", "blue"))
    if run and run.ended_at:
        what = "Run finished" if run.started_at else "Run ended without starting"
        found.append(Moment(run.ended_at, "finished", f"{what}: {run.state_label}", run.state_colour))
    if run_request.run_ended_at and not run:
        what = f"Run {run_request.flow_run_name} finished: {run_request.run_state}"
        note = "The run is no longer kept here."
        found.append(Moment(run_request.run_ended_at, "finished", what, run_request.state_colour, note=note))
    if run_request.state in (State.WITHDRAWN, State.EXPIRED, State.REFUSED):
        found.append(Moment(run_request.changed_at, "closed", run_request.state_label, run_request.state_colour))
    if run_request.state == State.HELD and run_request.change.expires_at:
        found.append(Moment(run_request.change.expires_at, "expires", "Expires without a decision", "grey"))
    # They come from several tables, each in its own order.
    return sorted(found, key=lambda each: each.at, reverse=True)


def decided(decision: Approval, run_request: RunRequest) -> Moment:
    if not signatures.is_signed(decision):
        what = "Approval not signed by the portal" if decision.approved else "Rejection not signed by the portal"
        return Moment(decision.at, "unsigned", what, "red", decision.by_name, decision.reason)
    if not decision.approved:
        return Moment(decision.at, "rejected", "Rejected", "red", decision.by_name, decision.reason)
    stages = run_request.change.policy.get("stages", [])
    # Requests that were made when one approval was all there was have no stages.
    group = stages[decision.stage]["group"] if decision.stage < len(stages) else ""
    what = f"Approved as {group}" if group else "Approved"
    return Moment(decision.at, "approved", what, "green", decision.by_name, decision.reason)


def overrides(run_request: RunRequest, emergency: BreakGlass | None) -> list[Moment]:
    found = []
    if run_request.overridden_at:
        what, by = "Overrode change window or freeze", run_request.overridden_by_name
        found.append(Moment(run_request.overridden_at, "override", what, "amber", by))
    if emergency:
        what = "Used emergency override"
        found.append(Moment(emergency.at, "emergency", what, "red", emergency.by_name, emergency.reason))
    if emergency and emergency.reviewed_at:
        verdict, tone = ("justified", "green") if emergency.was_right else ("not justified", "red")
        what, by = f"Reviewed override: {verdict}", emergency.reviewed_by_name
        found.append(Moment(emergency.reviewed_at, "review", what, tone, by, emergency.review))
    return found


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th, 21st."""
    ending = "th" if number % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"
