"""Who approved a change request, in words: for the list of requests, the run report and their downloads."""

from __future__ import annotations

from runs import changes
from runs.models import ChangeRequest

NOT_REQUIRED = "Not required"


def approved_by(change: ChangeRequest) -> str:
    """Return the approvers of a change request, such as “anna, axel”; "" if it ended without any.

    An emergency override is named as one. While it waits, the number of approvals it needs is added. Prefetch
    `approvals` and select `break_glass` for lists.
    """
    override = changes.emergency_override(change)
    names = [approval.by_name for approval in changes.approvers_of(change)]
    if override:
        names.append(f"{override.by_name} (emergency override)")
    if change.state == ChangeRequest.State.WAITING:
        count = f"{len(names)} of {sum(step.needed for step in changes.steps(change))}"
        return f"{', '.join(names)} ({count})" if names else count
    if change.state == ChangeRequest.State.REJECTED:
        # Of several decisions of one person the last counts.
        last = {decision.by_id: decision for decision in sorted(change.approvals.all(), key=lambda each: each.pk)}
        return ", ".join(f"rejected by {decision.by_name}" for decision in last.values() if not decision.approved)
    return ", ".join(names) or ("" if change.needs_approval else NOT_REQUIRED)
