"""When the Prefect of an environment could not be reached."""

from __future__ import annotations

from django.db import models

from flows.models import Environment


class Outage(models.Model):
    """One time in which every check of an environment's Prefect failed. `runs.outages` is the only writer."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="outages")
    message = models.TextField(blank=True)
    began_at = models.DateTimeField(help_text="When a check first failed.")
    ended_at = models.DateTimeField(null=True, help_text="When a check succeeded again.")

    class Meta:
        ordering = ["-began_at", "-pk"]
        default_permissions = ()
        constraints = [
            # Two processes that find it at once: one event.
            models.UniqueConstraint(
                fields=["environment"], condition=models.Q(ended_at=None), name="one_open_outage_per_environment"
            )
        ]

    def __str__(self) -> str:
        return f"outage of {self.environment_id} since {self.began_at}"
