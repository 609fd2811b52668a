"""The periodic tasks as a table; the follower does what must happen more often."""

from __future__ import annotations

from django_q.models import Schedule

# name -> (task, minutes)
CLOCK: dict[str, tuple[str, int]] = {
    "Read every environment": ("runs.tasks.sync_all", 1),
    "Send what is due": ("runs.tasks.catch_up", 1),
    "Close what nobody answered": ("runs.tasks.expire", 1),
}


def wind() -> None:
    """Make django-q2's schedules equal to the table."""
    for name, (task, minutes) in CLOCK.items():
        Schedule.objects.update_or_create(
            name=name,
            defaults={"func": task, "schedule_type": Schedule.MINUTES, "minutes": minutes, "repeats": -1},
        )
    Schedule.objects.exclude(name__in=CLOCK).delete()
