"""The end of schedules, hooks, event rules and chains: they last as long as the policies allow."""

from __future__ import annotations

from collections.abc import Sequence
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
    """Return how long a schedule, a hook, an event rule or a chain lasts at most, by the policies that apply."""
    # Compared as numbers: a policy may hold more days than a timedelta.
    return timedelta(days=min(requirements.schedule_days or LONGEST.days, LONGEST.days))


def end_of(deployments: Sequence[Deployment], wanted: datetime | None) -> datetime:
    """Return the end of a hook, an event rule or a chain of these deployments: the given one, else the latest possible.

    Raises `Refused` for one that is over or too far away.
    """
    requirements, now = requirements_for(*map(Target.of, deployments)), timezone.now()
    most = longest(requirements)
    if wanted is None:
        # As forms show it: saved again, it is the same.
        return (now + most).replace(second=0, microsecond=0)
    wanted = moments.in_utc(wanted)
    if not now < wanted <= now + most:
        raise Refused(
            "automation.valid_until",
            f"A hook, event rule or chain in {requirements.place} ends within {plural(most.days, 'day')} from now. It "
            "can be renewed before.",
            days=most.days,
        )
    return wanted
