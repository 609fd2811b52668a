"""What is done about stalled runs."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from runs.models.run import Run, Stall


class Recovery(models.Model):
    """A decision to put a stalled run back to Scheduled, or to mark it as failed, and its result.

    `runs.requests` creates it, `runs.dispatch` carries it out and settles it.
    """

    class Kind(models.TextChoices):
        PUT_BACK = "put back", "Put back"
        FAIL = "fail", "Mark as failed"

    class State(models.TextChoices):
        WANTED = "wanted", "Queued"
        DONE = "done", "Done"
        OVERTAKEN = "overtaken", "The run moved first"
        FAILED = "failed", "Not done"

    COLOURS = {State.WANTED: "amber", State.DONE: "green", State.OVERTAKEN: "blue", State.FAILED: "red"}

    run = models.ForeignKey(Run, models.PROTECT, related_name="recoveries")
    kind = models.CharField(max_length=10, choices=Kind)
    stalled_kind = models.CharField(max_length=10, choices=Stall, help_text="How the run was stalled.")
    # Compared with the state that Prefect has just before it acts: a run that has moved is left alone.
    state_id = models.UUIDField(null=True, help_text="The state of the run that the decision was about.")
    state = models.CharField(max_length=10, choices=State, default=State.WANTED)
    reason = models.CharField(max_length=1000)
    ticket = models.CharField(max_length=100, blank=True)
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, related_name="recoveries")
    requested_by_name = models.CharField(max_length=200)
    requested_at = models.DateTimeField(db_default=Now())
    is_automatic = models.BooleanField(default=False, help_text="Decided by the portal; at most once for each run.")
    sent_at = models.DateTimeField(null=True)
    settled_at = models.DateTimeField(null=True)
    # Lease and retries, as for run requests: see runs/dispatch/leases.py.
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    message = models.TextField(blank=True)

    class Meta:
        ordering = ["-requested_at"]
        constraints = [
            # The row lock on the run prevents both; these hold it for code that forgets the lock.
            models.UniqueConstraint(
                fields=["run"], condition=models.Q(state="wanted"), name="unique_open_recovery_per_run"
            ),
            models.UniqueConstraint(
                fields=["run"], condition=models.Q(is_automatic=True), name="unique_automatic_recovery_per_run"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.run} ({self.get_state_display()})"

    @property
    def state_label(self) -> str:
        return self.get_state_display()

    @property
    def state_colour(self) -> str:
        return self.COLOURS[self.State(self.state)]

    @property
    def mark(self) -> str:
        """Return the message of the state in Prefect, by which an attempt whose answer was lost is recognized."""
        verb = "Put back" if self.kind == self.Kind.PUT_BACK else "Marked as failed"
        return f"{verb} through the portal (recovery {self.pk})."
