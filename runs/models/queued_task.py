"""Background tasks that wait or are being run."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now


class QueuedTask(models.Model):
    """A background task that waits, or that a process has taken. `runs.queue` is the only code that writes it.

    A row is deleted when its task has ended, whatever the result: what must be retried is in its own table, with its
    state, and `runs.tasks.requeue_due` queues it.
    """

    task = models.CharField(max_length=100, help_text="Dotted name, one of runs.queue.TASKS.")
    # Text, not JSON: one spelling, which an index can compare.
    args = models.CharField(max_length=200, help_text="Canonical JSON: a list of numbers and texts.")
    priority = models.PositiveSmallIntegerField(help_text="Lowest first.")
    queued_at = models.DateTimeField(db_default=Now())
    taken_at = models.DateTimeField(null=True, help_text="Empty while it waits.")

    class Meta:
        ordering = ["priority", "pk"]
        default_permissions = ()
        indexes = [
            # For queueing and for taking: is the same task waiting, or running?
            models.Index(fields=["task", "args"], name="queued_by_name"),
            models.Index(fields=["priority", "id"], condition=models.Q(taken_at=None), name="queued_by_priority"),
        ]

    def __str__(self) -> str:
        return f"{self.task.rpartition('.')[2]}{self.args}"
