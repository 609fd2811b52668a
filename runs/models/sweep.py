"""How far retention has come."""

from __future__ import annotations

from django.db import models

from flows.models import Environment


class Sweep(models.Model):
    """What retention has deleted in an environment. `runs.mirror.run_retention` is the only code that writes it."""

    environment = models.OneToOneField(Environment, models.CASCADE, primary_key=True)
    # It never moves back: what was deleted before it must not be read again, whatever the setting says by now.
    horizon = models.DateTimeField(null=True, help_text="Runs that ended before are not read from Prefect any more.")
    swept_at = models.DateTimeField(null=True, help_text="When the last sweep was complete.")
    runs = models.BigIntegerField(default=0, help_text="Number of runs deleted so far.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.environment}: {self.runs}"
