"""Counts of the runs that ended, by hour and duration."""

from __future__ import annotations

from django.db import models

from flows.models import Deployment, Environment


class RunCount(models.Model):
    """How many runs ended in an hour in one state, after about the same time. `runs.mirror` is the only writer.

    Sums over the buckets of durations are counts; the buckets themselves give percentiles. A row outlives the runs that
    it counts: what retention deletes stays counted.
    """

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="run_counts")
    deployment = models.ForeignKey(Deployment, models.PROTECT, null=True, related_name="run_counts")
    # As of the runs: whose grants decide who can see them.
    access_deployment = models.ForeignKey(Deployment, models.PROTECT, null=True, related_name="+", db_index=False)
    flow_name = models.CharField(max_length=300, blank=True, help_text="Of runs without a deployment that decides.")
    hour = models.DateTimeField(help_text="Its beginning, a full hour in the portal's time zone.")
    state_type = models.CharField("state", max_length=20)
    duration_bucket = models.SmallIntegerField(help_text="How long they ran: runs/duration_buckets.py.")
    number = models.IntegerField()
    total_ms = models.BigIntegerField(help_text="The sum of their durations, in milliseconds.")

    class Meta:
        ordering = ["-hour"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=[
                    *("environment", "deployment", "access_deployment", "flow_name", "hour", "state_type"),
                    "duration_bucket",
                ],
                name="unique_run_count",
                nulls_distinct=False,
            )
        ]
        indexes = [
            # All that charts and rankings add up, so that it is read from the index alone.
            models.Index(
                fields=["hour", "environment", "access_deployment"],
                include=["deployment", "state_type", "duration_bucket", "number", "total_ms"],
                name="run_counts_by_hour",
            ),
            # For readers who see some deployments.
            models.Index(
                fields=["access_deployment", "hour"],
                include=["environment", "deployment", "state_type", "duration_bucket", "number", "total_ms"],
                name="run_counts_by_access",
            ),
            models.Index(fields=["deployment", "hour"], name="run_counts_by_deployment"),
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.state_type} at {self.hour:%Y-%m-%d %H:%M}"
