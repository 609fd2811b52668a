"""What the background tasks would do, done or read at once."""

from __future__ import annotations

from django.db.models import QuerySet

from runs import tasks
from runs.models import Notification, QueuedTask

# Queued with every event; what comes of it is tested where events are.
DELIVERS = "runs.tasks.deliver_events"


def notices() -> QuerySet[Notification]:
    """The notifications, after everything that happened has been delivered."""
    tasks.deliver_events()
    return Notification.objects.all()


def queued_tasks() -> list[str]:
    """The names of the tasks that wait, in the order in which they were queued."""
    return [row.task for row in QueuedTask.objects.exclude(task=DELIVERS).order_by("pk")]
