"""Runs of schedules that are approved one by one: each due time becomes a change request of its own.

It is submitted ahead of its time, so that approvers have time, and expires at the following start: of a schedule one
run waits at a time.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.utils import timezone

from flows.parameters import Invalid
from runs.access.decisions import Target
from runs.actors import Actor
from runs.automation import schedule_checks, schedule_times
from runs.errors import Refused
from runs.governance.requirements import requirements_for
from runs.models import Schedule
from runs.requests import spec_values, submit

# How long ahead of its time a run is requested: at least as a run that needs no approval, at most a day.
SHORTEST_LEAD, LONGEST_LEAD = timedelta(seconds=30), timedelta(days=1)


def due(number: int) -> list[int]:
    """Return the keys of up to `number` active schedules of which a run is to be requested now."""
    within = Schedule.objects.filter(
        state=Schedule.State.ACTIVE, next_due__lte=timezone.now() + LONGEST_LEAD, change__policy__each_run=True
    )
    rows = within.select_related("deployment__environment").order_by("next_due", "pk")[:number]
    return [row.pk for row in rows if row.next_due and row.next_due <= timezone.now() + lead(row)]


def lead(schedule: Schedule) -> timedelta:
    """Return how long ahead of its next due time a run is requested.

    As long as an approval may take, but not before the start that precedes it, and at most a day.
    """
    minutes = requirements_for(Target.of(schedule.deployment)).minutes
    longest = min(timedelta(minutes=minutes), LONGEST_LEAD)
    if schedule.next_due is None:
        return SHORTEST_LEAD
    following = schedule_times.next_time(schedule_checks.rule_of(schedule), schedule.next_due)
    gap = following - schedule.next_due if following else longest
    return max(min(longest, gap), SHORTEST_LEAD)


def request_each(schedule: Schedule, dues: Sequence[datetime], *, decide_before: datetime | None) -> list[datetime]:
    """Submit a change request for each due time, in the name of the owner; return the due times for which it was done.

    The caller holds the lock on the schedule. A due time that is requested again is the same change request. One that
    is refused, such as outside a change window where a policy refuses that, is in the audit trail.
    """
    change, spec, deployment = schedule.change, schedule.spec, schedule.deployment
    if change.requested_by is None:
        raise TypeError(f"{schedule} has no owner.")
    by = Actor.of_schedule(change.requested_by, name=change.requested_by_name, agent=change.agent)
    requested = []
    for moment in dues:
        try:
            submit(
                deployment,
                spec_values(spec),
                by=by,
                tags=spec.tags,
                run_name=spec.run_name,
                profile=spec.profile_name,
                # One that was missed starts when it is approved.
                scheduled_for=moment if moment > timezone.now() else None,
                reason=change.reason,
                ticket=change.ticket,
                on_behalf_of=change.on_behalf_of,
                # What its requester typed for the schedule is for each of its runs.
                confirmation=deployment.full_name,
                occurrence_of=schedule,
                decide_before=decide_before,
                submission_key=uuid.uuid5(change.submission_key, moment.isoformat()),
            )
        except (Refused, Invalid):
            continue
        requested.append(moment)
    return requested
