"""Request that one schedule of a deployment in Prefect is paused or resumed, from code or made there.

It is decided as a pause of the deployment is, whose other schedules go on. Schedules of the portal are paused in
`runs.automation.schedules`.
"""

from __future__ import annotations

from typing import Any

from flows.models import Deployment
from runs import actions, audit, native_schedules
from runs.access.decisions import Target, require
from runs.actors import Actor
from runs.errors import Refused
from runs.governance.in_scope import require_in_scope
from runs.governance.requirements import requirements_for
from runs.models import Action, Schedule, Verb
from runs.models.action import Before, Kind, State

# Kind -> the verb of its audit entry.
VERBS = {Kind.PAUSE_ONE: "deployment.pause_schedule", Kind.RESUME_ONE: "deployment.resume_schedule"}


def pause(deployment: Deployment, reference: str, *, by: Actor, reason: str = "", ticket: str = "") -> Action:
    """Request that Prefect starts no more runs of one schedule, named by its id there or its slug.

    Raises `Forbidden` or `Refused`.
    """
    return request(deployment, reference, Kind.PAUSE_ONE, by=by, reason=reason, ticket=ticket)


def resume(deployment: Deployment, reference: str, *, by: Actor, reason: str = "", ticket: str = "") -> Action:
    """Request that Prefect starts the runs of one schedule again. During a freeze it waits for the end of it."""
    return request(deployment, reference, Kind.RESUME_ONE, by=by, reason=reason, ticket=ticket)


def request(deployment: Deployment, reference: str, kind: Kind, *, by: Actor, reason: str, ticket: str) -> Action:
    with audit.act(VERBS[kind], deployment, by=by, reason=reason, ticket=ticket) as act:
        require(by, Verb.PAUSE, deployment)
        # Locked: of two requests at once the second sees the action of the first.
        stored = Deployment.objects.select_for_update(of=["self"]).select_related("environment").get(pk=deployment.pk)
        if stored.deleted_upstream_at:
            raise Refused("deployment.gone", f"{stored} is no longer deployed in {stored.environment}.")
        require_in_scope(stored)
        found = schedule_of(stored, reference)
        act.before = {"schedule": found["description"], "is_active": found["is_active"]}
        is_active = kind == Kind.RESUME_ONE
        what = "resume" if is_active else "pause"
        requirements_for(Target.of(stored)).require_reason_and_ticket(what, reason=reason, ticket=ticket)
        waiting = actions.open_single_pauses(stored).filter(prefect_schedule=found["id"])
        # Locked: it is sent either before, which shows, or not at all.
        if earlier := waiting.select_for_update(of=["self"]).first():
            withdraw(earlier, kind, by)
        elif found["is_active"] == is_active:
            state = "active" if is_active else "paused"
            raise Refused("schedule.unchanged", f"The schedule {found['description']} of {stored} is already {state}.")
        act.after = {"schedule": found["description"], "is_active": is_active}
        return actions.create(
            kind,
            stored,
            before=Before(is_active=not is_active, fingerprint=native_schedules.fingerprint(found)),
            wanted=Before(is_active=is_active, schedule=found["description"]),
            by=by,
            by_name=by.name,
            reason=reason,
            ticket=ticket,
            prefect_schedule=found["id"],
        )


def withdraw(earlier: Action, kind: Kind, by: Actor) -> None:
    """Withdraw the opposite of what is requested, such as a resumption that waits for the end of a freeze."""
    if earlier.kind == kind or earlier.sent_at:
        raise Refused(
            "schedule.pending",
            f"Another change of this schedule of {earlier.target} is pending. Try again when it has finished.",
        )
    actions.move(earlier, to=State.OVERTAKEN, message=f"{by.name} requested the opposite.")


def schedule_of(deployment: Deployment, reference: str) -> dict[str, Any]:
    """Return a schedule as last synced, by its id in Prefect or its slug; refuse one that the portal keeps there."""
    found = native_schedules.schedule_in_prefect(deployment, reference)
    if found is None:
        raise Refused("schedule.unknown", f"{deployment} has no schedule {reference[:100]} in Prefect.")
    own = Schedule.objects.filter(deployment=deployment, native__slug=found.get("slug") or None)
    if kept := own.exclude(state=Schedule.State.ENDED).first():
        raise Refused(
            "schedule.own", f"{kept} is a schedule of the portal. Pause or resume that one.", schedule=kept.pk
        )
    return found
