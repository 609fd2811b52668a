"""Failure groups: which failures are the same one, what is done about them, and who sees them."""

from runs.failures.failure_listings import FAILURES, in_shown_states, search_messages
from runs.failures.group_retries import MOST_AT_ONCE, Retried, retry_runs, retryable_runs
from runs.failures.grouping import group_due, has_due, note
from runs.failures.triage import (
    ACTS,
    LEGAL_FROM,
    LONGEST_TEXT,
    acknowledge,
    assign,
    can_act,
    comment,
    mute,
    resolve,
    sees_message,
    target_of,
)

__all__ = [
    "ACTS",
    "FAILURES",
    "LEGAL_FROM",
    "LONGEST_TEXT",
    "MOST_AT_ONCE",
    "Retried",
    "acknowledge",
    "assign",
    "can_act",
    "comment",
    "group_due",
    "has_due",
    "in_shown_states",
    "mute",
    "note",
    "resolve",
    "retry_runs",
    "retryable_runs",
    "search_messages",
    "sees_message",
    "target_of",
]
