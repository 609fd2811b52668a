"""Pins: the deployments that a person wants to find first."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Environment


class Pin(models.Model):
    """A deployment that a person has pinned. `runs.pins` is the only writer.

    It refers to the name of the deployment, not the row, so it survives a redeploy. It opens nothing: pins are
    displayed as far as their owner may see the deployments.
    """

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="pins")
    environment = models.ForeignKey(Environment, models.CASCADE, related_name="+")
    full_name = models.CharField("deployment", max_length=601, help_text="flow name/deployment name")
    pinned_at = models.DateTimeField("pinned", db_default=Now(), editable=False)

    class Meta:
        ordering = ["full_name", "pk"]
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(
                fields=["owner", "environment", "full_name"], name="unique_pin_per_owner_and_deployment"
            )
        ]

    def __str__(self) -> str:
        return self.full_name
