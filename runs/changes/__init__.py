"""Approvals, overrides and state transitions of run requests.

The only writer of approvals, comments and emergency overrides, and of the state of run requests.
"""

from runs.changes.approvals import (
    approve,
    comment,
    expire,
    involved_in,
    reject,
    require_decidable,
    withdraw,
    withdraw_waiting,
)
from runs.changes.evidence import require_evidence
from runs.changes.gate_decisions import let_go, reject_step, why_waiting
from runs.changes.gates import attempt_of, is_of_backfill, item_of
from runs.changes.launch_queue import LANES, queue_launches
from runs.changes.launch_results import hold, launched, launched_together, note_sent, recheck, refuse, requeue
from runs.changes.overrides import MAX_OVERRIDE, MIN_OVERRIDE, break_glass, override, review
from runs.changes.pacing import cancel_rest, pause, resume
from runs.changes.release import (
    advance,
    close,
    release,
    require_step_released,
    to_advance,
    withdraw_occurrences,
    withdraw_unsent,
)
from runs.changes.settle import settle, settle_deleted, settle_swept
from runs.changes.stages import Step, approvers_of, emergency_override, step_for, steps
from runs.changes.states import CHANGE_LEGAL_FROM, LEGAL_FROM, move, move_together
from runs.changes.validity import require_approved, require_other_person, require_retry_approved

__all__ = [
    "CHANGE_LEGAL_FROM",
    "LANES",
    "LEGAL_FROM",
    "MAX_OVERRIDE",
    "MIN_OVERRIDE",
    "Step",
    "advance",
    "approve",
    "approvers_of",
    "attempt_of",
    "break_glass",
    "cancel_rest",
    "close",
    "comment",
    "emergency_override",
    "expire",
    "hold",
    "involved_in",
    "is_of_backfill",
    "item_of",
    "launched",
    "launched_together",
    "let_go",
    "move",
    "move_together",
    "note_sent",
    "override",
    "pause",
    "queue_launches",
    "recheck",
    "refuse",
    "reject",
    "reject_step",
    "release",
    "requeue",
    "require_approved",
    "require_decidable",
    "require_evidence",
    "require_other_person",
    "require_retry_approved",
    "require_step_released",
    "resume",
    "review",
    "settle",
    "settle_deleted",
    "settle_swept",
    "step_for",
    "steps",
    "to_advance",
    "why_waiting",
    "withdraw",
    "withdraw_occurrences",
    "withdraw_unsent",
    "withdraw_waiting",
]
