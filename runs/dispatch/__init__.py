"""Launch, stop, switch, postpone: the only code that asks Prefect to act."""

from runs.dispatch.cancel_run import cancel_run
from runs.dispatch.launch import AHEAD, claim, launch
from runs.dispatch.leases import backoff
from runs.dispatch.pause import set_paused
from runs.dispatch.postpone import postpone

__all__ = ["AHEAD", "backoff", "cancel_run", "claim", "launch", "postpone", "set_paused"]
