"""The end of what requests runs by itself: schedules, hooks and event rules last as long as the policies allow."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils import timezone

from flows.models import Deployment
from flows.wording import plural
from runs import moments
from runs.access.decisions import Target
from runs.errors import Refused
from runs.governance.requirements import Requirements, requirements_for

# A leap year, so that the same day next year is always possible.
LONGEST = timedelta(days=366)
# How long before its end the owner is notified.
REMIND_BEFORE = timedelta(days=7)


def longest(requirements: Requirements) -> timedelta:
    """Return how long a schedule, a hook or an event rule lasts at most, by the policies that apply."""
    # Compared as numbers: a policy may hold more days than a timedelta.
    return timedelta(days=min(requirements.schedule_days or LONGEST.days, LONGEST.days))


def end_of(deployment: Deployment, wanted: datetime | None) -> datetime:
    """Return the end of a hook or an event rule: the given one, else the latest possible.

    Raises `Refused` for one that is over or too far away.
    """
    requirements, now = requirements_for(Target.of(deployment)), timezone.now()
    most = longest(requirements)
    if wanted is None:
        return now + most
    wanted = moments.in_utc(wanted)
    if not now < wanted <= now + most:
        raise Refused(
            "automation.valid_until",
            f"A hook or event rule in {requirements.place} ends within {plural(most.days, 'day')} from now. It can be "
            "renewed before.",
            days=most.days,
        )
    return wanted
