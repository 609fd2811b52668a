"""The periodic tasks as a table: the only code that writes `PeriodicTask`."""

from __future__ import annotations

from datetime import timedelta

from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from runs import queue
from runs.models import PeriodicTask

PERIODIC: dict[str, timedelta] = {
    # Often: what is due again after an error or a kill waits at most this long.
    "runs.tasks.requeue_due": timedelta(seconds=5),
    "runs.tasks.sync_all": timedelta(seconds=30),
    "runs.tasks.pause_frozen_schedules": timedelta(minutes=1),
    "runs.tasks.expire": timedelta(minutes=1),
    "runs.tasks.maintain_audit": timedelta(hours=1),
}


def sync_schedules() -> None:
    """Create, update and delete the rows to match `PERIODIC`."""
    for task, period in PERIODIC.items():
        # The next time of an existing row is kept, or every deploy would delay it.
        PeriodicTask.objects.update_or_create(task=task, defaults={"period": period})
    PeriodicTask.objects.exclude(task__in=PERIODIC).delete()


@transaction.atomic
def queue_due() -> None:
    """Queue the periodic tasks that are due. After a downtime each runs once, not once for each missed time."""
    # Every process calls this each second: they skip what another is queueing, and never wait.
    due = PeriodicTask.objects.filter(next_at__lte=Now()).select_for_update(skip_locked=True)
    for row in due:
        queue.enqueue(row.task)
    PeriodicTask.objects.filter(pk__in=[row.pk for row in due]).update(next_at=Now() + F("period"))
