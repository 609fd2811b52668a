"""Cancellations of runs."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from runs.models.run import Run


class Cancellation(models.Model):
    """A request to cancel a run, and its result.

    `runs.requests` creates it, `runs.dispatch` sends it, `runs.changes` settles it by the state of the run.
    """

    class State(models.TextChoices):
        WANTED = "wanted", "Queued"
        SENT = "sent", "Cancelling"
        CONFIRMED = "confirmed", "Cancelled"
        OVERTAKEN = "overtaken", "Finished before the cancellation"
        FAILED = "failed", "Could not be sent"

    # Not settled yet: sent is not enough, the state of the run decides.
    OPEN = (State.WANTED, State.SENT)
    COLOURS = {
        State.WANTED: "amber",
        State.SENT: "amber",
        State.CONFIRMED: "grey",
        State.OVERTAKEN: "blue",
        State.FAILED: "red",
    }

    run = models.ForeignKey(Run, models.PROTECT, related_name="cancellations")
    state = models.CharField(max_length=10, choices=State, default=State.WANTED)
    reason = models.CharField(max_length=1000, blank=True)
    ticket = models.CharField(max_length=100, blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="cancellations")
    requested_by_name = models.CharField(max_length=200)
    requested_at = models.DateTimeField(db_default=Now())
    is_forced = models.BooleanField(
        default=False, help_text="Marks the run as cancelled in Prefect even if its process is still running."
    )
    sent_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    # Lease and retries, as for run requests: see runs/dispatch/leases.py.
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    message = models.TextField(blank=True)

    class Meta:
        ordering = ["-requested_at"]
        constraints = [
            # The row lock on the run prevents a second one; this holds it for code that forgets the lock.
            models.UniqueConstraint(
                fields=["run"],
                condition=models.Q(state__in=["wanted", "sent"]),
                name="unique_open_cancellation_per_run",
            )
        ]

    def __str__(self) -> str:
        return f"Cancel {self.run} ({self.get_state_display()})"

    @property
    def state_label(self) -> str:
        return self.get_state_display()

    @property
    def state_colour(self) -> str:
        return self.COLOURS[self.State(self.state)]
