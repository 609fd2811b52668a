"""The schedules that Prefect has of a deployment: what its page shows of them, and how one is paused or resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.http import HttpRequest

from flows.models import Deployment
from portal.admin.actions import perform, ticket_of
from portal.auth.request_user import actor_of
from runs.governance import schedule_pausing
from runs.models import Action, Schedule
from runs.models.action import OPEN, SINGLE_PAUSES, Kind

# What an address asks for -> the service, and the message of its success.
SERVICES: dict[str, tuple[Callable[..., object], str]] = {
    "pause": (schedule_pausing.pause, "Pause of the schedule requested. It takes effect in a few seconds."),
    "resume": (schedule_pausing.resume, "Resume of the schedule requested. It takes effect in a few seconds."),
}


def rows(deployment: Deployment, live: Sequence[Schedule], recent: Iterable[Action]) -> list[dict[str, Any]]:
    """Return the schedules as last synced, with what is requested of them, which is among the `recent` actions.

    Those of the portal's `live` schedules that it keeps there are its own; others can be paused and resumed by
    themselves.
    """
    own_slugs = {each.native["slug"] for each in live if each.is_native}
    waits = [each for each in recent if each.kind in SINGLE_PAUSES and each.state in OPEN]
    pending = {str(each.prefect_schedule): each for each in waits}
    found = []
    for each in deployment.schedules:
        is_own, waiting = each.get("slug") in own_slugs, pending.get(str(each["id"]))
        offered = "" if is_own else offered_for(bool(each["is_active"]), waiting)
        found.append({**each, "is_own": is_own, "pending": waiting, "offered": offered})
    return found


def offered_for(is_active: bool, waiting: Action | None) -> str:
    """Return what can be requested: of one for which something waits only the opposite, unless that was sent."""
    if waiting is None:
        return "pause" if is_active else "resume"
    if waiting.sent_at:
        return ""
    return "pause" if waiting.kind == Kind.RESUME_ONE else "resume"


def switch(request: HttpRequest, deployment: Deployment, schedule: UUID, what: str) -> None:
    """Request the pause or resumption of one schedule, with the reason of the form."""
    service, done = SERVICES[what]

    def act(reason: str) -> object:
        return service(deployment, str(schedule), by=actor_of(request), reason=reason, ticket=ticket_of(request))

    perform(request, act, done)
