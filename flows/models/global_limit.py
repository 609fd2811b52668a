"""Concurrency limits of a server that do not belong to one pool, queue or deployment, as of the last sync."""

from __future__ import annotations

from django.db import models

from flows.models.environment import Environment
from flows.models.work_pool import CurrentManager

# How Prefect names the limit of a tag of task runs.
TAG = "tag:"


class GlobalLimit(models.Model):
    """A global concurrency limit, or that of a tag. `flows.catalog.limit_catalog` is the only code that writes it."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="global_limits")
    prefect_id = models.UUIDField(null=True, help_text="Empty until Prefect has it.")
    name = models.CharField(max_length=300)
    concurrency_limit = models.IntegerField(help_text="Slots that can be used at a time.")
    active_slots = models.IntegerField(default=0, help_text="Slots in use when it was last read.")
    is_active = models.BooleanField("active", default=True, help_text="Inactive, it limits nothing.")
    slot_decay_per_second = models.FloatField(default=0, help_text="Slots that become free by themselves; 0 for none.")
    synced_at = models.DateTimeField()
    # Marked and not deleted: actions refer to it. A limit of the same name that is created later is the same row; one
    # that the portal creates has its row before, marked like this.
    deleted_upstream_at = models.DateTimeField(
        "deleted in Prefect", null=True, help_text="When a sync first found it missing in Prefect."
    )

    objects = models.Manager["GlobalLimit"]()
    current = CurrentManager["GlobalLimit"]()

    class Meta:
        ordering = ["name"]
        verbose_name = "concurrency limit"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["environment", "name"], name="unique_global_limit_per_environment")
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_there(self) -> bool:
        """Whether Prefect has it, as of the last sync."""
        return self.deleted_upstream_at is None

    @property
    def tag(self) -> str:
        """The tag whose task runs it limits; empty for a global limit."""
        return self.name.removeprefix(TAG) if self.name.startswith(TAG) else ""

    @property
    def prefect_url(self) -> str:
        return f"{self.environment.server.prefect_ui}/concurrency-limits"
