"""Presets: parameter values of a deployment under a name, for one person or for all who can run it."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Environment


class Preset(models.Model):
    """Parameter values under a name, without secrets. `runs.requests.presets` is the only writer.

    It refers to the name of the deployment, not the row, so it survives a redeploy. What it holds was valid when it was
    saved; whoever loads it checks it again.
    """

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="presets")
    full_name = models.CharField("deployment", max_length=601, help_text="flow name/deployment name")
    name = models.CharField(max_length=100)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="presets")
    is_shared = models.BooleanField("shared", default=False)
    parameters = models.JSONField(default=dict, help_text="Without secrets, and without what is left at its default.")
    profile = models.CharField("resource profile", max_length=100, blank=True, help_text="Its name; blank: none.")
    schema_fingerprint = models.CharField(max_length=64, help_text="Of the deployment when the values were saved.")
    created_at = models.DateTimeField("created", db_default=Now(), editable=False)
    changed_at = models.DateTimeField("changed", db_default=Now(), editable=False)

    class Meta:
        ordering = ["full_name", "name", "pk"]
        default_permissions = ["view"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "full_name", "owner", "name"], name="unique_preset_per_owner_and_deployment"
            )
        ]

    def __str__(self) -> str:
        return self.name
