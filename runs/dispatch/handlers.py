"""Carry out actions: what is done in Prefect for each kind, and how an attempt ends."""

from __future__ import annotations

from collections.abc import Callable

from django.utils import timezone

from flows.prefect_api.records import NotFound, PrefectError, Rejected
from runs import actions
from runs.dispatch.cancel_run import cancel_run
from runs.dispatch.capacity import change_capacity
from runs.dispatch.leases import backoff, record_attempt, take_lease
from runs.dispatch.recover_run import recover_run
from runs.dispatch.save_schedule import save_schedule
from runs.dispatch.switch_schedule import switch_schedule
from runs.errors import Refused
from runs.models import Action
from runs.models.action import CANCELS, LIMITS, PAUSES, RECOVERIES, RETRIES, SCHEDULES, SINGLE_PAUSES, Kind, State

# Each sends the action, or checks on one that was sent, and settles it if the result is known. May raise `Refused` and
# `PrefectError`.
HANDLERS: dict[Kind, Callable[[Action], None]] = {
    **dict.fromkeys(CANCELS, cancel_run),
    **dict.fromkeys([*RECOVERIES, *RETRIES], recover_run),
    **dict.fromkeys([*PAUSES, *LIMITS], change_capacity),
    **dict.fromkeys(SCHEDULES, save_schedule),
    **dict.fromkeys(SINGLE_PAUSES, switch_schedule),
}
# What a handler reads of other tables, in one query.
RELATED = (
    *("run__environment__server", "deployment__environment__server"),
    *("pool__environment__server", "queue__pool__environment__server", "global_limit__environment__server"),
)


def carry_out(action: Action) -> None:
    """Carry out an action that is due, under its lease; an attempt that cannot reach Prefect is repeated later."""
    if not take_lease(action):
        return
    action.refresh_from_db(from_queryset=Action.objects.select_related(*RELATED))
    try:
        HANDLERS[Kind(action.kind)](action)
    except Refused as refusal:
        actions.settle(action, to=State.FAILED, message=refusal.message)
    except (NotFound, Rejected) as error:
        actions.settle(action, to=State.FAILED, message=str(error))
    except PrefectError as error:
        record_attempt(action, f"{error} Retrying automatically.", at=timezone.now() + backoff(action.attempts))
