"""Launch, carry out actions and postpone: the only code that asks Prefect to act."""

from runs.dispatch.handlers import HANDLERS, carry_out
from runs.dispatch.launch import AHEAD, claim, launch
from runs.dispatch.launch_together import launch_together
from runs.dispatch.leases import backoff
from runs.dispatch.postpone import postpone
from runs.dispatch.put_back import put_back_stalled

__all__ = [
    "AHEAD",
    "HANDLERS",
    "backoff",
    "carry_out",
    "claim",
    "launch",
    "launch_together",
    "postpone",
    "put_back_stalled",
]
