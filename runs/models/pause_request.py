"""Requests to pause or resume a deployment."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now

from flows.models import Deployment


class PauseRequest(models.Model):
    """A request to pause or resume a deployment's schedules.

    `runs.governance.pausing` creates it, `runs.dispatch` sends it and records the result.
    """

    class State(models.TextChoices):
        WANTED = "wanted", "Queued"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="pause_requests")
    pause = models.BooleanField(help_text="True: pause; False: resume.")
    state = models.CharField(max_length=10, choices=State, default=State.WANTED)
    reason = models.CharField(max_length=1000, blank=True)
    ticket = models.CharField(max_length=100, blank=True)
    # Tells the requests of a freeze from those of people: only the former are undone when it ends.
    freeze = models.ForeignKey(
        "runs.Freeze",
        models.SET_NULL,
        null=True,
        related_name="pause_requests",
        help_text="The freeze that paused the schedules, or that did until now.",
    )
    requested_by_name = models.CharField(max_length=200)
    requested_at = models.DateTimeField(db_default=Now())
    # Lease and retries, as for run requests: see runs/dispatch/leases.py.
    attempts = models.PositiveIntegerField(default=0)
    next_attempt_at = models.DateTimeField(null=True)
    message = models.TextField(blank=True)

    class Meta:
        ordering = ["-requested_at"]
        verbose_name_plural = "pause requests"

    def __str__(self) -> str:
        return f"{'Pause' if self.pause else 'Resume'} {self.deployment}"
