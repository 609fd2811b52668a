"""What becomes of a wish: the only mover of a run request, and the only maker and settler of a cancellation."""

from runs.lifecycle.answering import approve, expire, reject, withdraw
from runs.lifecycle.asking import digest, must_be_allowed, must_be_askable, submit
from runs.lifecycle.cancelling import cancel, target_of
from runs.lifecycle.launching import launched, put_back, refuse
from runs.lifecycle.moves import COMES_FROM, move
from runs.lifecycle.settling import settle

__all__ = [
    "COMES_FROM",
    "approve",
    "cancel",
    "digest",
    "expire",
    "launched",
    "move",
    "must_be_allowed",
    "must_be_askable",
    "put_back",
    "refuse",
    "reject",
    "settle",
    "submit",
    "target_of",
    "withdraw",
]
