"""The clock of the schedules: requests the runs that are due, records what was missed, pauses what cannot run.

Each schedule is one transaction, in which its runs are added and its next due time moves: a process that is killed has
done all of it or nothing. An occurrence is keyed by its due time, so that none is there twice.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import DatabaseError
from django.db.models import Q
from django.utils import timezone

from runs import audit, changes
from runs.actors import Actor
from runs.automation import schedule_approvals, schedule_checks, schedule_states, schedule_times, schedules
from runs.automation.ends import REMIND_BEFORE
from runs.models import ChangeRequest, RunEvent, Schedule
from runs.requests import add_occurrence

log = logging.getLogger(__name__)

State = Schedule.State
ChangeState = ChangeRequest.State
# How long before its time a run is requested: as long as `runs.dispatch.launch` sends it ahead.
AHEAD = timedelta(seconds=30)
# A start that is requested no later than this is in time; later ones were missed.
LATE = timedelta(minutes=5)
# How many missed starts are caught up at most: the last ones.
MOST_CAUGHT_UP = 100
# Schedules that one call handles.
MOST_AT_ONCE = 500
# So long before a start its owner and its approvers are checked, if the start before it is longer ago.
CHECK_AHEAD = timedelta(hours=2)
INSPECTED_EVERY = timedelta(minutes=1)


def tick() -> None:
    """Follow decisions about change requests, and request all runs that are due. Called every few seconds."""
    decided = Schedule.objects.filter(state=State.WAITING).exclude(change__state=ChangeState.WAITING)
    for pk in decided.order_by("pk").values_list("pk", flat=True)[:MOST_AT_ONCE]:
        schedules.activate(pk)
    due = Schedule.objects.filter(state=State.ACTIVE, next_due__lte=timezone.now() + AHEAD)
    found = list(due.order_by("next_due", "pk").values_list("pk", flat=True)[:MOST_AT_ONCE])
    for pk in dict.fromkeys([*found, *schedule_approvals.due(MOST_AT_ONCE)]):
        try:
            run_due(pk)
        except DatabaseError:
            raise
        except Exception:
            # One that cannot be handled must not hold up the others, nor fail every few seconds.
            log.exception("The clock could not handle schedule %d.", pk)
            pause_failed(pk)


def inspect() -> None:
    """End what is over, pause what cannot run before it is due, and remind owners. Called every minute."""
    now = timezone.now()
    live = Schedule.objects.filter(state__in=[State.ACTIVE, State.PAUSED])
    is_over = Q(valid_until__lte=now) | Q(change__state__in=ChangeRequest.OVER)
    is_obstructed = Q(state=State.ACTIVE) & schedule_checks.OBSTRUCTED
    is_unreminded = Q(valid_until__lte=now + REMIND_BEFORE, reminded_at=None)
    # What the owner and the approvers may do is in no query: it is checked once before each start, so that they are
    # notified before, and again when it is due. One that starts more often is checked often enough.
    begins = now + CHECK_AHEAD - INSPECTED_EVERY
    is_soon = Q(state=State.ACTIVE, next_due__gt=begins, next_due__lte=now + CHECK_AHEAD)
    # One query for all; each is decided again under the lock.
    found = live.filter(is_over | is_obstructed | is_unreminded | is_soon)
    for pk in found.values_list("pk", flat=True)[:MOST_AT_ONCE]:
        inspect_one(pk)


def inspect_one(pk: int) -> None:
    with audit.act("schedule.end", None, by=Actor.system()) as act:
        schedule = schedule_states.lock(pk, skip_locked=True)
        if schedule is None or not schedule.is_live:
            act.is_repeat = True
            return
        act.subject, act.environment, act.before = schedule, schedule.environment.slug, {"state": schedule.state}
        if end_if_over(schedule, schedule_states.lock_change(schedule), act):
            return
        if schedule.state == State.ACTIVE and pause_if_obstructed(schedule, act):
            return
        act.is_repeat = True
        if schedule.reminded_at is None and schedule.valid_until <= timezone.now() + REMIND_BEFORE:
            schedule_states.note_reminder(schedule)
            schedule_states.record_event(RunEvent.Kind.SCHEDULE_ENDING, schedule)


def run_due(pk: int) -> None:
    """Request the runs of one schedule that are due, once, and move its next due time on."""
    with audit.act("schedule.miss", None, by=Actor.system()) as act:
        # 1. The process that has the lock does the work; what it did shows in the next due time.
        schedule = schedule_states.lock(pk, skip_locked=True)
        now = timezone.now()
        if schedule is None or schedule.next_due is None:
            act.is_repeat = True
            return
        until = now + (schedule_approvals.lead(schedule) if schedule.approves_each else AHEAD)
        if schedule.next_due > until:
            act.is_repeat = True
            return
        act.subject, act.environment, act.before = schedule, schedule.environment.slug, {"state": schedule.state}
        change = schedule_states.lock_change(schedule)
        if end_if_over(schedule, change, act) or pause_if_obstructed(schedule, act):
            return
        # 2. What is due, and which of it starts.
        first = schedule.next_due
        dues, number, following = due_times(schedule, until)
        chosen_dues = chosen(schedule, dues, now)
        if schedule.is_native and following is None and now - dues[-1] < LATE:
            # Prefect deletes with its schedule a run that no worker has picked up yet: the last one.
            act.is_repeat = True
            return
        if schedule.is_native:
            # Prefect starts it. What was due while the portal was down was no miss.
            started = chosen_dues = list(dues)
        elif schedule.approves_each:
            started = schedule_approvals.request_each(schedule, chosen_dues, decide_before=following)
        else:
            started = chosen_dues
            add_all(schedule, change, started)
        # 3. The next due time, in the same transaction, and what was missed. What starts in time is in the entry of its
        #    launch.
        late = 0 if schedule.is_native else number - (now - dues[-1] <= LATE)
        skipped = 0 if schedule.is_native else number - len(chosen_dues)
        skipped_at = max((due for due in dues if due not in chosen_dues), default=dues[0])
        schedule_states.advance(schedule, started=started, skipped=skipped, skipped_at=skipped_at, next_due=following)
        act.is_repeat = not late
        if late:
            act.after = {"late": late, "started": len(started), "skipped": skipped, "first": first, "last": dues[-1]}
            act.after["catch_up"] = schedule.catch_up
            schedule_states.record_event(
                RunEvent.Kind.SCHEDULE_MISSED, schedule, late=late, started=len(started), skipped=skipped
            )
        # 4. After the last one it has ended; its change request closes when nothing of it is left to start.
        if following is None:
            schedule_states.end(schedule, code="schedule.over", message="It has no start left.")
            act.verb, act.is_repeat = "schedule.end", False
            act.after |= {"state": schedule.state, "code": schedule.code}


def add_all(schedule: Schedule, change: ChangeRequest, dues: Sequence[datetime]) -> None:
    """Add a run for each due time, and release them as those of any approved request; the caller holds the locks."""
    # What was read with the schedule, or each run would read it again.
    change.environment, schedule.spec.deployment = schedule.environment, schedule.deployment
    schedule.spec.change = change
    for due in dues:
        add_occurrence(schedule.spec, due.isoformat(), scheduled_for=due)
    if dues:
        changes.release(change)


def pause_failed(pk: int) -> None:
    """Pause a schedule that the clock cannot handle."""
    with audit.act("schedule.pause", None, by=Actor.system()) as act:
        schedule = schedule_states.lock(pk, skip_locked=True)
        if schedule is None or schedule.state != State.ACTIVE:
            act.is_repeat = True
            return
        act.subject, act.environment, act.before = schedule, schedule.environment.slug, {"state": schedule.state}
        sentence = "The portal could not start its runs. An administrator finds the error in the portal's log."
        pause_for(schedule, schedule_checks.Obstacle("schedule.failed", sentence), act)


def due_times(schedule: Schedule, until: datetime) -> tuple[deque[datetime], int, datetime | None]:
    """Return the last due times up to a moment, how many there are, and the one after it."""
    rule, number = schedule_checks.rule_of(schedule), 0
    last: deque[datetime] = deque(maxlen=MOST_CAUGHT_UP)
    due: datetime | None = schedule.next_due
    for following in schedule_times.times(rule, due or until):
        if due is None or due > until or due >= schedule.valid_until:
            break
        last.append(due)
        number += 1
        due = following
    else:
        if due and due <= until and due < schedule.valid_until:
            last.append(due)
            number, due = number + 1, None
    return last, number, due if due and due < schedule.valid_until else None


def chosen(schedule: Schedule, dues: deque[datetime], now: datetime) -> list[datetime]:
    """Return the due times of which a run starts: the last one if it is in time, and missed ones as it says."""
    if schedule.catch_up == Schedule.CatchUp.ALL:
        return list(dues)
    is_in_time = now - dues[-1] <= LATE
    return [dues[-1]] if is_in_time or schedule.catch_up == Schedule.CatchUp.LAST else []


def end_if_over(schedule: Schedule, change: ChangeRequest, act: audit.Act) -> bool:
    """End a schedule whose time is over, or whose change request has ended; return whether it did."""
    now = timezone.now()
    if change.state == ChangeState.APPROVED and schedule.valid_until > now:
        return False
    code, message = "schedule.over", f"It was valid until {timezone.localtime(schedule.valid_until):%d %b %Y, %H:%M}."
    if change.state == ChangeState.APPROVED:
        changes.close(change, message)
    else:
        code, message = f"request.{change.state}", f"Its request is {change.state_label.lower()}."
    schedule_states.end(schedule, code=code, message=message)
    act.verb, act.after = "schedule.end", {"state": schedule.state, "code": code}
    return True


def pause_if_obstructed(schedule: Schedule, act: audit.Act) -> bool:
    """Pause a schedule of which every run would be refused; return whether it did."""
    found = schedule_checks.obstacle(schedule)
    if found:
        pause_for(schedule, found, act)
    return found is not None


def pause_for(schedule: Schedule, found: schedule_checks.Obstacle, act: audit.Act) -> None:
    withdrawn = schedule_states.pause(schedule, code=found.code, message=found.sentence)
    act.verb = "schedule.pause"
    act.after = {"state": schedule.state, "code": found.code, "withdrawn": withdrawn}
    schedule_states.record_event(RunEvent.Kind.SCHEDULE_PAUSED, schedule, code=found.code)
