"""Counts of the runs that ended, by day: sums of `RunCount`, so that a month is read from few rows."""

from __future__ import annotations

from django.db import models

from flows.models import Deployment, Environment


class DeploymentDayCount(models.Model):
    """How many runs of a deployment ended on a day in one state. `runs.mirror` is the only writer.

    The sum of the `RunCount`s whose hours begin on that day of UTC, over durations.
    """

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="+")
    deployment = models.ForeignKey(Deployment, models.PROTECT, null=True, related_name="+")
    access_deployment = models.ForeignKey(Deployment, models.PROTECT, null=True, related_name="+")
    flow_name = models.CharField(max_length=300, blank=True)
    day = models.DateField(help_text="Of UTC.")
    state_type = models.CharField("state", max_length=20)
    number = models.IntegerField()
    total_ms = models.BigIntegerField()

    class Meta:
        ordering = ["-day"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "deployment", "access_deployment", "flow_name", "day", "state_type"],
                name="unique_deployment_day_count",
                nulls_distinct=False,
            )
        ]
        indexes = [
            # All that a ranking adds up, so that it is read from the index alone.
            models.Index(
                fields=["day", "environment", "access_deployment"],
                include=["deployment", "state_type", "number", "total_ms"],
                name="deployment_day_counts",
            )
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.state_type} on {self.day:%Y-%m-%d}"


class EnvironmentDayCount(models.Model):
    """How many runs of an environment ended on a day in one state, after about the same time.

    The sum of the `RunCount`s whose hours begin on that day of UTC, over deployments: for readers who see every run of
    the environment. `runs.mirror` is the only writer.
    """

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="+")
    day = models.DateField(help_text="Of UTC.")
    state_type = models.CharField("state", max_length=20)
    duration_bucket = models.SmallIntegerField(help_text="How long they ran: runs/duration_buckets.py.")
    number = models.IntegerField()
    total_ms = models.BigIntegerField()

    class Meta:
        ordering = ["-day"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "day", "state_type", "duration_bucket"], name="unique_environment_day_count"
            )
        ]

    def __str__(self) -> str:
        return f"{self.number} {self.state_type} on {self.day:%Y-%m-%d}"
