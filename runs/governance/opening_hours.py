"""When runs can start: the change windows and the freeze of a deployment or an environment, as an actor sees them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone

from flows.models import Deployment, Environment
from runs import moments
from runs.access.decisions import Permissions, Target
from runs.actors import Actor
from runs.errors import Refused
from runs.governance import freezes, windows
from runs.governance.requirements import applicable, visible
from runs.models import Freeze, Window

# Windows are computed day by day: a moment further away is a slip, or the end of the calendar.
FURTHEST = timedelta(days=3653)


@dataclass(frozen=True, slots=True)
class Hours:
    """Whether one change window is open; `changes_at` is when that changes, None when it is not known."""

    window: Window
    is_open: bool
    changes_at: datetime | None


@dataclass(frozen=True, slots=True)
class Opening:
    """Whether runs can start. For an environment, those of deployments without narrower windows."""

    standing: windows.Standing
    freeze: Freeze | None
    hours: tuple[Hours, ...]


def opening(
    place: Environment, deployment: Deployment | None = None, *, by: Actor, at: datetime | None = None
) -> Opening:
    """Return whether runs of a deployment, or of an environment, can start at a moment, by default now."""
    moment = moments.in_utc(at) if at else timezone.now()
    if abs(moment - timezone.now()) > FURTHEST:
        raise Refused("time.format", "Give a time within ten years from now.")
    if deployment:
        target = Target.of(deployment)
        rows = list(windows.Calendar.of(target).windows)
    else:
        target = Target.whole(place)
        rows = list(Window.objects.filter(applicable(place), is_active=True).select_related("environment"))
    # The decision uses all windows; those that name something invisible are only left out of the list.
    rows = visible(rows, Permissions.of(by))
    hours = (Hours(row, *windows.hours(row, moment)) for row in rows)
    return Opening(windows.standing(target, moment), freezes.freeze_of(place), tuple(hours))
