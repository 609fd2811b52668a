"""The periodic tasks as a table; the follower does what must happen more often."""

from __future__ import annotations

from datetime import timedelta

from django.utils import timezone
from django_q.models import Schedule

# name -> (task, every so many minutes, first after so many seconds). django-q2 knows no shorter period than a minute:
# what must be seen within one is done twice, half a minute apart.
PERIODIC: dict[str, tuple[str, int, int]] = {
    "Read every environment": ("runs.tasks.sync_all", 1, 0),
    "Read every environment, on the half minute": ("runs.tasks.sync_all", 1, 30),
    "Send what is due": ("runs.tasks.requeue_due", 1, 0),
    "Send what is due, on the half minute": ("runs.tasks.requeue_due", 1, 30),
    "Keep what is frozen frozen": ("runs.tasks.pause_frozen_schedules", 1, 0),
    "Close what nobody answered": ("runs.tasks.expire", 1, 0),
    "Keep the audit trail": ("runs.tasks.maintain_audit", 60, 0),
}


def sync_schedules() -> None:
    """Make django-q2's schedules equal to the table."""
    now = timezone.now()
    for name, (task, minutes, seconds) in PERIODIC.items():
        columns = {"func": task, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1}
        first = now + timedelta(seconds=seconds)
        Schedule.objects.update_or_create(name=name, defaults=columns, create_defaults={**columns, "next_run": first})
    Schedule.objects.exclude(name__in=PERIODIC).delete()
