"""The approvals of a change request by stage: which are required, which count, and which is due."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User

from runs.errors import Refused
from runs.models import Approval, BreakGlass, ChangeRequest
from runs.models.policy import Stage

# The stage of a request that needs approval but was submitted before policies had stages.
ONE = Stage(needed=1, group="")


@dataclass(frozen=True, slots=True)
class Step:
    """One stage of a request's approvals; `given` are the names of the people who approved."""

    position: int
    needed: int
    group: str
    given: tuple[str, ...]

    @property
    def is_done(self) -> bool:
        return len(self.given) >= self.needed

    @property
    def left(self) -> int:
        return max(self.needed - len(self.given), 0)


def steps(change: ChangeRequest) -> list[Step]:
    """Return the stages that were required at request time, with who has approved each, in order."""
    stages: list[Stage] = change.policy.get("stages") or ([ONE] if change.needs_approval else [])
    valid = approvers_of(change)
    return [
        Step(
            position,
            stage["needed"],
            stage["group"],
            tuple(each.by_name for each in valid if each.stage == position),
        )
        for position, stage in enumerate(stages)
    ]


def waiting_stage(change: ChangeRequest) -> tuple[int, datetime] | None:
    """Return the position of the stage that waits, and since when: the last approval before it, or the request."""
    current = next((each for each in steps(change) if not each.is_done), None)
    if current is None:
        return None
    before = [each.at for each in approvers_of(change) if each.stage < current.position]
    return current.position, max(before, default=change.requested_at)


def approvers_of(change: ChangeRequest) -> list[Approval]:
    """Return the approvals that count: each person's last decision, if it approves exactly this digest."""
    # Sorted here, not in SQL, so that lists can prefetch the approvals of all their requests.
    # A later row of the same person replaces the earlier one: a rejection takes an approval back.
    last = {each.by_id: each for each in sorted(change.approvals.all(), key=lambda each: each.pk)}
    return [each for each in last.values() if each.approved and each.digest == change.digest]


def emergency_override(change: ChangeRequest) -> BreakGlass | None:
    """Return the override in place of the approvals, if there is one; read once for each object."""
    return getattr(change, "break_glass", None)


def step_for(change: ChangeRequest, user: User) -> Step:
    """Return the current stage if the person can approve it; raise `Refused` if not."""
    step = next((each for each in steps(change) if not each.is_done), None)
    if step is None:
        raise Refused("approval.complete", f"Request {change.pk} already has all its approvals.")
    if step.group and not user.groups.filter(name=step.group).exists():
        raise Refused(
            "approval.group",
            f"Request {change.pk} needs {step.left} more from the group {step.group} now.",
            group=step.group,
        )
    return step
