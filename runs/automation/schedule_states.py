"""State transitions of schedules: the only code that writes `Schedule`.

The callers hold the lock on the row (`lock`), and have an audit entry in progress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone

from flows.db_text import sanitize
from runs import actions, changes, events, native_schedules
from runs.automation import native_checks, schedule_checks
from runs.automation.schedule_times import Rule
from runs.models import ChangeRequest, RunEvent, Schedule
from runs.native_schedules import Difference

State = Schedule.State
ChangeState = ChangeRequest.State


def rows() -> QuerySet[Schedule]:
    """Return schedules with everything that decides about their runs."""
    return Schedule.objects.select_related(
        "change__requested_by", "change__on_behalf_of", "spec", "environment__server", "deployment__environment"
    )


def lock(pk: int, *, skip_locked: bool = False) -> Schedule | None:
    """Lock the row and return it as it is now; with `skip_locked` None if another transaction has it."""
    return rows().select_for_update(of=["self"], skip_locked=skip_locked).filter(pk=pk).first()


def lock_change(schedule: Schedule) -> ChangeRequest:
    """Lock the change request of a schedule; it is read again."""
    return ChangeRequest.objects.select_for_update(of=["self"]).get(pk=schedule.change_id)


def insert(change: ChangeRequest, rule: Rule, contents: Mapping[str, Any], *, valid_until: datetime) -> Schedule:
    """Insert the schedule of a new change request, which waits for its approval or becomes active at once."""
    spec = change.specs.get()
    return Schedule.objects.create(
        change=change,
        spec=spec,
        environment_id=spec.deployment.environment_id,
        deployment_id=spec.deployment_id,
        name=contents["name"],
        rule_type=rule.type,
        rule=rule.text,
        time_zone=rule.time_zone,
        anchor=rule.anchor,
        catch_up=contents["catch_up"],
        valid_until=valid_until,
        replaces_id=contents["replaces"],
        native=native_checks.native_of(change, rule, spec) if contents.get("native") else {},
        state=State.WAITING,
    )


def settle(schedule: Schedule, change: ChangeRequest, act_after: dict[str, Any]) -> None:
    """Follow the decision about the change request of a waiting schedule: make it active, or end it."""
    now = timezone.now()
    if change.state == ChangeState.WAITING:
        return
    if change.state != ChangeState.APPROVED:
        end(schedule, code=f"request.{change.state}", message=f"The request was not approved: {change.state_label}.")
    elif is_overtaken(schedule):
        changes.close(change, "The schedule that it replaces was replaced meanwhile.")
        end(schedule, code="schedule.replaced", message="The schedule that it replaces was replaced meanwhile.")
    elif (due := schedule_checks.next_due(schedule, now)) is None:
        changes.close(change, "It has no start left.")
        end(schedule, code="schedule.over", message="It has no start left.")
    else:
        update(schedule, state=State.ACTIVE, next_due=due, activated_at=now, code="", message="")
        replace(schedule, act_after)
    act_after.update(state=schedule.state, next_due=schedule.next_due)


def is_overtaken(schedule: Schedule) -> bool:
    """Return whether another replacement of the same schedule became active first."""
    if schedule.replaces_id is None:
        return False
    others = Schedule.objects.filter(replaces=schedule.replaces_id, activated_at__isnull=False)
    return others.exclude(pk=schedule.pk).exists()


def replace(schedule: Schedule, act_after: dict[str, Any]) -> None:
    """End the schedule that a new one replaces."""
    before = lock(schedule.replaces_id) if schedule.replaces_id else None
    if before and before.is_live:
        message = f"Replaced by {schedule}."
        changes.close(lock_change(before), message)
        end(before, code="schedule.replaced", message=message)
        act_after["replaced"] = before.pk


def pause(schedule: Schedule, *, code: str, message: str, by_name: str = "") -> int:
    """Pause an active schedule, and withdraw its runs that were not sent to Prefect; return how many."""
    withdrawn = changes.withdraw_unsent(lock_change(schedule), message)
    withdrawn += changes.withdraw_occurrences(schedule, message)
    update(schedule, state=State.PAUSED, next_due=None, code=code, message=message, changed_by_name=by_name)
    return withdrawn


def resume(schedule: Schedule, due: datetime, *, by_name: str) -> None:
    """Make a paused schedule active; what was due meanwhile is not started."""
    update(schedule, state=State.ACTIVE, next_due=due, code="", message="", changed_by_name=by_name)


def end(schedule: Schedule, *, code: str, message: str, by_name: str = "") -> None:
    """End a schedule for good, and withdraw those of its runs that are requests of their own and were not sent."""
    changes.withdraw_occurrences(schedule, message)
    update(schedule, state=State.ENDED, next_due=None, code=code, message=message, changed_by_name=by_name)


def advance(
    schedule: Schedule,
    *,
    started: Sequence[datetime],
    skipped: int,
    skipped_at: datetime | None,
    next_due: datetime | None,
) -> None:
    """Note what an active schedule has started, what was skipped, and when it is due next; None after the last time."""
    found: dict[str, Any] = {}
    if started:
        found["last_due"] = started[-1]
    if skipped:
        found |= {"missed": schedule.missed + skipped, "missed_at": skipped_at}
    if next_due:
        found["next_due"] = next_due
    if found:
        update(schedule, is_move=False, **found)


def note_reminder(schedule: Schedule) -> None:
    update(schedule, is_move=False, reminded_at=timezone.now())


def update(schedule: Schedule, *, is_move: bool = True, **columns: Any) -> None:
    """Update columns of a locked row, and the object."""
    if is_move:
        columns = {"changed_at": timezone.now(), "changed_by_name": "", **columns}
        columns["message"] = sanitize(columns["message"])
    Schedule.objects.filter(pk=schedule.pk).update(**columns)
    for name, value in columns.items():
        setattr(schedule, name, value)
    # Of one that never became active Prefect has nothing.
    if is_move and schedule.is_native and schedule.activated_at:
        actions.request_save(schedule)


def note_drift(schedule: Schedule, found: list[Difference]) -> None:
    """Note in what Prefect's copy differs, or that it does not any more, and have its owner notified of it once.

    The caller has compared `found` with what is noted.
    """
    since = (schedule.drifted_at or timezone.now()) if found else None
    update(schedule, is_move=False, drift=found, drifted_at=since)
    # Of one that has ended nothing is to be in Prefect, and nothing of it is expected.
    if schedule.is_live:
        kind = RunEvent.Kind.SCHEDULE_DRIFTED if found else RunEvent.Kind.SCHEDULE_HOLDS
        record_event(kind, schedule, lines=native_schedules.describe_drift(found))


def record_event(kind: RunEvent.Kind, schedule: Schedule, **data: object) -> None:
    facts = {"schedule": schedule.pk, "name": schedule.name, "message": schedule.message, **data}
    events.record(kind, change=schedule.change, data=facts)
