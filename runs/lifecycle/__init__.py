"""What becomes of a wish: the only mover of a run request, and the only maker and settler of a cancellation."""

from runs.lifecycle.answering import (
    Step,
    answers,
    approve,
    comment,
    expire,
    must_be_answerable,
    must_be_approved,
    reject,
    step_for,
    steps,
    withdraw,
)
from runs.lifecycle.asking import (
    again,
    digest,
    must_be_allowed,
    must_be_askable,
    must_be_repeatable,
    submit,
    values_of,
)
from runs.lifecycle.cancelling import PATIENCE, cancel, force_cancel, target_of
from runs.lifecycle.exceptions import LONGEST_GLASS, SHORTEST_GLASS, break_glass, override, review
from runs.lifecycle.launching import hold, launched, look_again, put_back, refuse
from runs.lifecycle.moves import COMES_FROM, move
from runs.lifecycle.settling import settle

__all__ = [
    "COMES_FROM",
    "LONGEST_GLASS",
    "PATIENCE",
    "SHORTEST_GLASS",
    "Step",
    "again",
    "answers",
    "approve",
    "break_glass",
    "cancel",
    "comment",
    "digest",
    "expire",
    "force_cancel",
    "hold",
    "launched",
    "look_again",
    "move",
    "must_be_allowed",
    "must_be_answerable",
    "must_be_approved",
    "must_be_askable",
    "must_be_repeatable",
    "override",
    "put_back",
    "refuse",
    "reject",
    "review",
    "settle",
    "step_for",
    "steps",
    "submit",
    "target_of",
    "values_of",
    "withdraw",
]
