"""The form that changes limits, on the pages of deployments, work pools and limits, and what was requested there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db.models import Q
from django.http import HttpRequest

from flows.models import Deployment, WorkQueue
from portal.admin.actions import perform, ticket_of
from portal.auth.request_user import actor_of
from runs.access.decisions import Permissions
from runs.errors import Refused
from runs.governance import limits
from runs.governance.loosening import is_guarded
from runs.models import Action, ChangeRequest, Verb
from runs.models.action import LIMITS, OPEN, PAUSES, SINGLE_PAUSES, Capacity, State

STRATEGY, STANDARD = "collision_strategy", "ENQUEUE"
DONE = "Change of the limit requested. It takes effect in a few seconds."
# kind of action of which the last one is shown while it is not done
FAMILIES = (PAUSES, LIMITS, SINGLE_PAUSES)
# More actions on one target than are read: the last one of each family is among them, or is long done.
RECENT = 20


def context(permissions: Permissions, target: Capacity) -> dict[str, Any]:
    """Return which buttons the reader has, and whether a higher limit must be confirmed."""
    place = limits.place_of(target)
    is_there = target.deleted_upstream_at is None and target.environment.is_active
    if isinstance(target, Deployment):
        is_there = is_there and target.left_scope_at is None
    is_own = not (isinstance(target, Deployment) and target.shared_limit)
    return {
        "may_limit": is_there and is_own and permissions.decide(Verb.MANAGE, place).allowed,
        "may_pause": is_there and permissions.decide(Verb.PAUSE, place).allowed,
        "is_guarded": is_guarded(target.environment),
        "strategies": limits.STRATEGIES,
    }


def recent_actions(target: Capacity) -> list[Action]:
    """Return the newest actions, and all pauses of single schedules that are open."""
    found = limits.actions_on(target)
    newest = Q(pk__in=found.order_by("-pk").values("pk")[:RECENT])
    return list(found.filter(newest | Q(kind__in=SINGLE_PAUSES, state__in=OPEN)).order_by("-pk"))


def open_requests(target: Capacity) -> list[Action]:
    """Return the last pause, of all or of one schedule, and the last change of a limit, as far as they are not done."""
    return unfinished(recent_actions(target))


def open_requests_of(queues: Sequence[WorkQueue]) -> dict[int, list[Action]]:
    """Return the same by the key of each queue; one query."""
    latest = Action.objects.filter(queue__in=queues).order_by("queue_id", "kind", "-pk").distinct("queue_id", "kind")
    found = sorted(latest, key=lambda action: -action.pk)
    return {queue.pk: unfinished([each for each in found if each.queue_id == queue.pk]) for queue in queues}


def unfinished(found: Sequence[Action]) -> list[Action]:
    """Return the newest of each family, if it is not done."""
    latest = [next((each for each in found if each.kind in kinds), None) for kinds in FAMILIES]
    return [each for each in latest if each and each.state != State.DONE]


def change_limits(request: HttpRequest, target: Capacity) -> None:
    """Read the form and request the change."""

    def act(reason: str) -> Action | ChangeRequest:
        confirm = request.POST.get("confirm", "")
        wanted = read(request, target)
        return limits.set_limits(
            target, wanted, by=actor_of(request), reason=reason, ticket=ticket_of(request), confirm=confirm
        )

    perform(request, act, DONE)


def read(request: HttpRequest, target: Capacity) -> dict[str, Any]:
    """Return the limits of the form; what it does not have stays as it is."""
    _, _, names = limits.SUBJECTS[type(target)]
    found = {name: value_of(name, request.POST[name].strip()) for name in names if name in request.POST}
    # A list always sends one of its options: Prefect's own where none was ever set is no change.
    if not getattr(target, STRATEGY, STANDARD) and found.get(STRATEGY) == STANDARD:
        del found[STRATEGY]
    return found


def value_of(name: str, text: str) -> int | str | bool | None:
    if name == STRATEGY:
        return text
    if name == "is_active":
        return {"true": True, "false": False}.get(text, text)
    if not text:
        return None
    try:
        return int(text)
    except ValueError:
        label = name.replace("_", " ")
        raise Refused("limit.number", f"The {label} must be a whole number.", field=name) from None
