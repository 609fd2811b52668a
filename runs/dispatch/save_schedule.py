"""Save schedules in Prefect: create, change and delete its copies of those that it keeps for the portal.

What is to be there is read from the schedule each time, and compared with what Prefect has: an answer that was lost, or
a process that was killed, is made up for by the next attempt, and nothing is created twice.
"""

from __future__ import annotations

from uuid import uuid4

from django.db import transaction
from django.utils import timezone

from flows.catalog import sync
from flows.prefect_api import connect
from flows.prefect_api.client import PrefectClient
from flows.prefect_api.records import DeploymentRecord, NotFound, ScheduleRecord
from runs import actions, definitions, native_schedules
from runs.automation import native_checks, schedule_states
from runs.dispatch.leases import FROZEN, record_attempt
from runs.governance import deployment_moves
from runs.governance.freezes import freeze_of
from runs.governance.in_scope import require_here
from runs.models import Action, Schedule
from runs.models.action import State


def save_schedule(action: Action) -> None:
    """Make Prefect's copy what the schedule says, and settle the action by what Prefect has afterwards."""
    schedule = schedule_states.rows().select_related("replaces").get(pk=action.schedule_id or 0)
    deployment = schedule.deployment
    # 1. During a freeze nothing becomes active: a freeze pauses what was there when it began.
    if native_schedules.is_to_be_active(schedule) and freeze_of(schedule.environment):
        message = f"{schedule.environment} is frozen. Saved when the freeze ends."
        record_attempt(action, message, at=timezone.now() + FROZEN)
        return
    # 2. What Prefect has, and what has to be sent.
    client = connect.client_for(schedule.environment.server)
    try:
        record = client.deployment(deployment.prefect_id)
    except NotFound:
        # With the deployment Prefect has deleted its schedules.
        if schedule.is_live:
            raise
        actions.settle(action, to=State.DONE)
        return
    if native_schedules.is_to_be_active(schedule):
        require_here(deployment, record)
    if not actions.note_sending(action):
        return
    delete_replaced(client, schedule, record)
    send(client, schedule, record)
    actions.move(action, to=State.SENT)
    # 3. Prefect's answer is no proof: read it.
    sync.refresh(deployment, on_change=definitions.record_changes, on_move=deployment_moves.record_moves)
    settle(action, sent=native_schedules.wanted_state(schedule))


def send(client: PrefectClient, schedule: Schedule, record: DeploymentRecord) -> None:
    """Send what is different, if anything is."""
    found = stored(record, str(schedule.native["slug"]))
    if not schedule.is_live:
        if found:
            client.delete_schedule(record.id, found.id)
        return
    is_active = native_schedules.is_to_be_active(schedule)
    if found is None and not is_active:
        return
    if found and not list(native_schedules.compare(schedule, sync.described_schedule(record, found))):
        return
    if found is None:
        # It can have been deployed again since the request.
        native_checks.require_harmless(schedule.deployment, [each.slug for each in record.schedules])
    wanted = ScheduleRecord(
        id=found.id if found else uuid4(),
        description="",
        is_active=is_active,
        slug=str(schedule.native["slug"]),
        rule=schedule.native["rule"],
        parameters=schedule.native["parameters"],
    )
    client.save_schedule(record.id, wanted, is_new=found is None)


def delete_replaced(client: PrefectClient, schedule: Schedule, record: DeploymentRecord) -> None:
    """Delete the copy of the schedule that this one replaces first: both would start runs at the same times."""
    before = schedule.replaces
    if before and before.is_native and not before.is_live and (found := stored(record, str(before.native["slug"]))):
        client.delete_schedule(record.id, found.id)


def stored(record: DeploymentRecord, slug: str) -> ScheduleRecord | None:
    return next((each for each in record.schedules if each.slug == slug), None)


def settle(action: Action, *, sent: str) -> None:
    """Settle by what Prefect has, unless the schedule was moved meanwhile: then it is saved again."""
    with transaction.atomic():
        # Who moves it holds this lock, and leaves the open action to save what it is then.
        schedule = schedule_states.lock(action.schedule_id or 0)
        if schedule is None:
            return
        left = native_schedules.differences(schedule)
        if left and native_schedules.wanted_state(schedule) != sent:
            record_attempt(action, "Changed while it was saved.", at=timezone.now())
            return
        if left:
            # Without the values, which not everyone may view who sees the schedule.
            described = ", ".join(each["what"] for each in left)
            actions.settle(action, to=State.FAILED, message=f"Prefect has another {described} than what was sent.")
        else:
            actions.settle(action, to=State.DONE)
        if left != schedule.drift:
            schedule_states.note_drift(schedule, list(left))
