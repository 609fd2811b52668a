"""Automations of Prefect that start runs, as of the last sync."""

from __future__ import annotations

from django.db import models

from flows.models.environment import Environment


class Automation(models.Model):
    """An automation with at least one action that starts runs. `flows.catalog.automations` is the only writer."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="automations")
    prefect_id = models.UUIDField()
    name = models.CharField(max_length=300)
    is_enabled = models.BooleanField(default=True)
    # JSON and not a table: replaced as a whole by every sync.
    starts = models.JSONField(
        default=list, help_text="action, and Prefect's id of the deployment, empty for one that the event names"
    )
    synced_at = models.DateTimeField()

    class Meta:
        ordering = ["name"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["environment", "prefect_id"], name="unique_automation_per_environment")
        ]

    def __str__(self) -> str:
        return self.name
