"""What can start runs in a protected environment without the portal."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from flows.models import Deployment, Environment
from flows.wording import deployment_name


class Bypass(models.Model):
    """One way, as long as it is there and a while longer. `runs.governance.bypasses` is the only writer."""

    class Kind(models.TextChoices):
        SCHEDULE = "schedule", "Schedule in Prefect"
        AUTOMATION = "automation", "Automation in Prefect"
        CODE = "code", "Code changed since the last approval"

    environment = models.ForeignKey(Environment, models.PROTECT, related_name="bypasses")
    kind = models.CharField(max_length=20, choices=Kind)
    # What it is, so that one that comes and one that goes are not taken for no change.
    identity = models.CharField(max_length=64)
    # Whose grants decide who sees it; none for an automation that starts what its event names.
    deployment = models.ForeignKey(Deployment, models.PROTECT, null=True, related_name="bypasses")
    name = models.CharField(max_length=650)
    detail = models.TextField(blank=True)
    found_at = models.DateTimeField()
    gone_at = models.DateTimeField(null=True, help_text="When it was no longer there.")

    class Meta:
        ordering = ["-found_at", "-pk"]
        verbose_name = "bypass"
        verbose_name_plural = "bypasses"
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "kind", "identity"], condition=Q(gone_at=None), name="unique_open_bypass"
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {deployment_name(self.name)}"
