"""Prefect servers and Cloud workspaces, and the result of the last check of each."""

from __future__ import annotations

import re
from datetime import timedelta
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.exceptions import ValidationError
from django.db import models

from flows import encryption
from flows.models.stored_row import StoredRow

# A name, or an IPv6 address, which urlsplit takes out of its brackets.
HOST = re.compile(r"[\w.-]+|[0-9a-fA-F:.]+")


def validate_address(url: str) -> None:
    """Refuse what is no http or https URL with a host. Django's own refuses hosts without a dot: prefect:4200."""
    try:
        parts = urlsplit(url)
        is_valid = parts.scheme in ("http", "https") and HOST.fullmatch(parts.hostname or "") and parts.port != 0
    except ValueError:
        is_valid = None
    if not is_valid or re.search(r"\s", url):
        raise ValidationError("Enter a URL such as http://prefect:4200/api.", "invalid")


class Server(StoredRow):
    """One Prefect server or Cloud workspace: where it is and how the portal signs in there.

    The address is its identity; that of a Cloud workspace names the workspace. `runs.governance.configuration` is the
    only code that writes it, but for `runs.key_rotation`.
    """

    class CredentialKind(models.TextChoices):
        NONE = "none", "none"
        BASIC = "basic", "user:password"
        KEY = "key", "Cloud API key"

    api_url = models.CharField(
        "API URL",
        max_length=500,
        validators=[validate_address],
        help_text="Ends in /api for a self-hosted server, for example http://prefect:4200/api.",
    )
    ui_url = models.CharField(
        "UI URL",
        max_length=500,
        blank=True,
        validators=[validate_address],
        help_text="URL of the Prefect UI. Blank = the API URL without /api.",
    )
    credential_kind = models.CharField(
        "credential type", max_length=10, choices=CredentialKind, default=CredentialKind.NONE
    )
    # Encrypted; read and written through `credential`. Not editable, so that no form of the admin ever offers it.
    sealed_credential = models.BinaryField(default=b"", blank=True, editable=False)

    def __str__(self) -> str:
        return self.api_url

    @property
    def credential(self) -> str:
        """The decrypted credential, "" for none. Raises `DecryptionError`."""
        return encryption.unseal(self.sealed_credential) if self.sealed_credential else ""

    @credential.setter
    def credential(self, text: str) -> None:
        # Nothing is stored for an empty credential: that there is none is visible without a key.
        self.sealed_credential = encryption.seal(text) if text else b""

    @property
    def prefect_ui(self) -> str:
        """The URL of the Prefect UI, without a trailing slash."""
        # A self-hosted server serves its UI at the API URL without /api; for Cloud `ui_url` is needed.
        return self.ui_url.rstrip("/") or re.sub(r"/api/?$", "", self.api_url)


class Health(StoredRow):
    """The result of the last check and syncs of a server. `flows.catalog.health` is the only code that writes it."""

    class State(models.TextChoices):
        UNKNOWN = "unknown", "not checked yet"
        UP = "up", "up"
        DOWN = "down", "unreachable"
        REFUSED = "refused", "authentication failed"

    # A row of its own: it is written every few seconds, and the server's own row has recorded versions.
    server = models.OneToOneField(Server, models.CASCADE, primary_key=True)
    state = models.CharField(max_length=10, choices=State, default=State.UNKNOWN)
    message = models.TextField(blank=True)
    version = models.CharField(max_length=40, blank=True)
    checked_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True, help_text="When the state last changed.")
    # Deployments and runs belong to an environment: what was read into one says nothing about another on this server.
    synced_for = ArrayField(
        models.BigIntegerField(),
        default=list,
        help_text="Keys of the environments that the server was synced into; the times of syncs are for these alone.",
    )
    synced_at = models.DateTimeField(null=True, help_text="When all deployments were last synced.")
    listed_at = models.DateTimeField(
        null=True, help_text="When the whole list of deployments was last read; in between, those that changed are."
    )
    synced_from = models.CharField(
        max_length=64, blank=True, help_text="Digest of the address, the credential and the scopes of that sync."
    )
    sync_message = models.TextField(blank=True)
    # Of the last reading of each; empty once one succeeded. The server can answer a check and fail on every list.
    runs_failure = models.TextField(blank=True)
    deployments_failure = models.TextField(blank=True)
    automations_failure = models.TextField(blank=True)
    automations_synced_at = models.DateTimeField(null=True, help_text="When the automations were last read.")
    limits_failure = models.TextField(blank=True)
    limits_synced_at = models.DateTimeField(null=True, help_text="When the concurrency limits were last read.")
    runs_synced_at = models.DateTimeField(null=True, help_text="When all runs were last synced.")
    # The first reading of all runs takes hours where there are a million, and goes on where it was interrupted. Empty
    # before it and after it.
    history_begun_at = models.DateTimeField(null=True, help_text="When the first reading of all runs began.")
    history_position = models.DateTimeField(
        null=True, help_text="What ended later than this was read: it goes from the newest run to the oldest."
    )
    history_runs = models.PositiveIntegerField(default=0, help_text="How many runs it has read.")
    history_recent_at = models.DateTimeField(
        null=True, help_text="When active runs, and those that ended since it began, were last read."
    )
    followed_at = models.DateTimeField(null=True, help_text="Last heartbeat of the event follower.")

    class Meta:
        verbose_name_plural = "health"

    def __str__(self) -> str:
        return f"{self.server}: {self.get_state_display()}"

    @property
    def history_percent(self) -> int | None:
        """How much of the time that it goes back the first reading has covered; None while there is none."""
        if self.history_begun_at is None:
            return None
        covered = self.history_begun_at - (self.history_position or self.history_begun_at)
        return min(99, int(100 * covered / timedelta(days=settings.HISTORY_DAYS)))
