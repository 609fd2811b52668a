"""Tests of an address and a credential before they are saved."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Server


class ConnectionTest(models.Model):
    """One test that an administrator asked for, and its result. It is deleted after a day.

    `runs.governance.connection_tests` is the only code that writes it.
    """

    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="+")
    requested_at = models.DateTimeField(db_default=Now())
    api_url = models.CharField(max_length=500)
    credential_kind = models.CharField(max_length=10, choices=Server.CredentialKind)
    # The credential as it was typed; emptied when the test has ended.
    sealed_credential = models.BinaryField(default=b"", blank=True, editable=False)
    # The server whose stored credential is used instead; only ever for its own address.
    server = models.ForeignKey(Server, models.CASCADE, null=True, related_name="+")
    finished_at = models.DateTimeField(null=True)
    is_connected = models.BooleanField(default=False)
    code = models.CharField(max_length=60, blank=True, help_text="What went wrong, for programs.")
    message = models.TextField(blank=True, help_text="What went wrong, and what to do.")
    version = models.CharField(max_length=40, blank=True)

    class Meta:
        ordering = ["-pk"]
        default_permissions = ()
        indexes = [models.Index(fields=["requested_at"], name="connection_test_by_time")]

    def __str__(self) -> str:
        return f"Test of {self.api_url}"
