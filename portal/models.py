"""The portal's own table; everything else it shows belongs to `flows` and `runs`."""

from __future__ import annotations

from django.db import models


class FailedAttempts(models.Model):
    """Failed attempts to sign in or to enter the old password, and requests for a link to choose a new one.

    Only `portal.auth.throttle` writes it. After a row has expired, counting starts again at one; it is deleted later.
    """

    # Not the name or address: people type passwords into the wrong field, and this table is never displayed.
    key = models.CharField(max_length=64, primary_key=True, help_text="HMAC of what is counted.")
    failures = models.PositiveIntegerField()
    blocked_until = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(db_index=True)
    is_recorded = models.BooleanField(default=False, help_text="The audit trail says that it was throttled.")

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.failures} failed attempts"
