"""Launch, cancel, pause, resume, postpone and recover: the only code that asks Prefect to act."""

from runs.dispatch.cancel_run import cancel_run
from runs.dispatch.launch import AHEAD, claim, launch
from runs.dispatch.leases import backoff
from runs.dispatch.pause import apply_pause
from runs.dispatch.postpone import postpone
from runs.dispatch.put_back import put_back_stalled
from runs.dispatch.recover_run import recover_run

__all__ = [
    "AHEAD",
    "apply_pause",
    "backoff",
    "cancel_run",
    "claim",
    "launch",
    "postpone",
    "put_back_stalled",
    "recover_run",
]
