"""The periodic tasks as a table. What must happen more often is done by the follower."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django_q.models import Schedule

# name -> (task, period in minutes, delay of the first in seconds). django-q2 has no period below a minute: what runs
# twice a minute has two schedules, half a minute apart.
PERIODIC: dict[str, tuple[str, int, int]] = {
    "Sync environments": ("runs.tasks.sync_all", 1, 0),
    "Sync environments (half minute)": ("runs.tasks.sync_all", 1, 30),
    "Requeue due work": ("runs.tasks.requeue_due", 1, 0),
    "Requeue due work (half minute)": ("runs.tasks.requeue_due", 1, 30),
    "Pause schedules of frozen environments": ("runs.tasks.pause_frozen_schedules", 1, 0),
    "Expire requests": ("runs.tasks.expire", 1, 0),
    "Maintain the audit trail": ("runs.tasks.maintain_audit", 60, 0),
}


def sync_schedules() -> None:
    """Create, update and delete django-q2 schedules to match `PERIODIC`."""
    now = timezone.now()
    for name, (task, minutes, seconds) in PERIODIC.items():
        columns = {"func": task, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1}
        first = now + timedelta(seconds=seconds)
        # The next run of an existing schedule is kept, or every deploy would delay it.
        Schedule.objects.update_or_create(name=name, defaults=columns, create_defaults={**columns, "next_run": first})
    Schedule.objects.exclude(name__in=PERIODIC).delete()
