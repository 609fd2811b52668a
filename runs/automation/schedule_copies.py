"""Prefect's copies of the schedules that it keeps for the portal: where they differ, and how they are put back."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Q

from runs import actions, audit, native_schedules
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import schedule_checks, schedule_states, schedules
from runs.errors import Refused
from runs.models import Action, Schedule, Verb
from runs.models.action import OPEN

State = Schedule.State


def inspect() -> None:
    """Note where Prefect's copies of schedules differ from what was approved. Called every minute."""
    pending = Action.objects.filter(schedule=OuterRef("pk"), state__in=OPEN)
    is_live = Q(state__in=[State.ACTIVE, State.PAUSED])
    rows = schedule_states.rows().filter(is_live, ~Exists(pending), environment__is_active=True).exclude(native={})
    for row in rows:
        if native_schedules.differences(row) != row.drift:
            inspect_copy(row.pk)


def inspect_copy(pk: int) -> None:
    with audit.act("schedule.drift", None, by=Actor.system("Prefect")) as act:
        schedule = schedule_states.lock(pk, skip_locked=True)
        found = native_schedules.differences(schedule) if schedule else []
        if schedule is None or found == schedule.drift:
            act.is_repeat = True
            return
        act.subject, act.environment, act.before = schedule, schedule.environment.slug, {"drift": schedule.drift}
        schedule_states.note_drift(schedule, found)
        act.after = {"drift": found}


def put_back(schedule: Schedule, *, by: Actor, reason: str = "", ticket: str = "") -> None:
    """Have Prefect's copy of a schedule made again what was approved; requires permission to manage schedules."""
    with schedules.act_on("schedule.put_back", schedule, by, reason, ticket) as act:
        Permissions.of(by).require(Verb.SCHEDULE, schedule.deployment)
        stored = schedules.locked(schedule, act)
        if not stored.is_native or not stored.activated_at:
            raise Refused("schedule.not_native", f"{stored} is not a schedule that Prefect keeps for the portal.")
        found = native_schedules.differences(stored)
        if not found:
            raise Refused("schedule.unchanged", f"Prefect has {stored} as approved. There is nothing to put back.")
        if stored.state == State.ACTIVE and (why := schedule_checks.obstacle(stored)):
            raise Refused("schedule.obstructed", f"{stored} cannot be put back. {why.sentence}", cause=why.code)
        actions.request_save(stored, by=by, reason=reason, ticket=ticket)
        act.before |= {"drift": found}
        act.after = {"state": stored.state}
