"""Launch, stop, switch, postpone: the only code that asks Prefect to act."""

from runs.dispatch.launching import AHEAD, claim, launch
from runs.dispatch.leases import backoff
from runs.dispatch.postponing import postpone
from runs.dispatch.stopping import stop
from runs.dispatch.switching import switch

__all__ = ["AHEAD", "backoff", "claim", "launch", "postpone", "stop", "switch"]
