"""When a person's email about notifications is sent, and what is one message."""

from __future__ import annotations

from django.conf import settings
from django.db import models


class EmailSettings(models.Model):
    """What a person chose; without a row everything is sent at once. `runs.notifications.email_choices` writes it."""

    class Digest(models.TextChoices):
        NONE = "", "At once"
        HOURLY = "hourly", "Every hour, in one email"
        DAILY = "daily", "Every day, in one email"

    person = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="email_settings"
    )
    quiet_from = models.TimeField(null=True, help_text="In the zone of the person.")
    quiet_until = models.TimeField(null=True)
    digest = models.CharField(max_length=10, blank=True, choices=Digest)
    digest_hour = models.PositiveSmallIntegerField(default=8)
    merge_minutes = models.PositiveSmallIntegerField(
        default=10, help_text="Messages about the same subject and topic within this time are one. 0 = never."
    )
    urgent_at_once = models.BooleanField(default=True, help_text="Approvals and overrides are sent at once.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"email of {self.pk}"
