"""Pause or resume one schedule that a deployment has in Prefect from its code, or that was made there.

Nothing else of it is changed, its slug least of all: by that Prefect finds it at the next deployment from code.
"""

from __future__ import annotations

from django.utils import timezone

from flows.catalog import sync
from flows.prefect_api import connect
from runs import actions, definitions, native_schedules
from runs.dispatch.leases import FROZEN, record_attempt
from runs.governance import deployment_moves
from runs.governance.freezes import freeze_of
from runs.governance.in_scope import require_here
from runs.models import Action
from runs.models.action import Kind, State

GONE = "Prefect no longer has this schedule. The deployment was deployed again, or the schedule was deleted there."
MOVED = "The schedule was changed in Prefect first. Read it, then pause or resume it again."


def switch_schedule(action: Action) -> None:
    """Make the schedule active or inactive, and settle the action by what Prefect has afterwards."""
    deployment, is_active = action.target_deployment, action.kind == Kind.RESUME_ONE
    # 1. During a freeze nothing becomes active.
    if is_active and freeze_of(deployment.environment):
        message = f"{deployment.environment} is frozen. Resumed when the freeze ends."
        record_attempt(action, message, at=timezone.now() + FROZEN)
        return
    # 2. What Prefect has: it must still be what was decided about.
    client = connect.client_for(deployment.environment.server)
    record = client.deployment(deployment.prefect_id)
    if is_active:
        require_here(deployment, record)
    found = next((each for each in record.schedules if each.id == action.prefect_schedule), None)
    if found is None:
        actions.settle(action, to=State.FAILED, message=GONE)
        return
    if native_schedules.fingerprint(sync.described_schedule(record, found)) != action.before["fingerprint"]:
        actions.settle(action, to=State.FAILED, message=MOVED)
        return
    # 3. Send it, unless an attempt whose answer was lost has done it.
    if found.is_active != is_active:
        if not actions.note_sending(action):
            return
        client.switch_schedule(record.id, found, is_active=is_active)
        actions.move(action, to=State.SENT)
    # 4. Prefect's answer is no proof, and there is no event for it: read it.
    sync.refresh(deployment, on_change=definitions.record_changes, on_move=deployment_moves.record_moves)
    deployment.refresh_from_db(fields=["schedules"])
    stored = native_schedules.schedule_in_prefect(deployment, action.prefect_schedule)
    if stored is None:
        actions.settle(action, to=State.FAILED, message=GONE)
    elif stored["is_active"] != is_active or native_schedules.fingerprint(stored) != action.before["fingerprint"]:
        actions.settle(action, to=State.FAILED, message="Prefect has another schedule than what was sent.")
    else:
        actions.settle(action, to=State.DONE)
