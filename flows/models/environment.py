"""Prefect servers and Cloud workspaces, and the result of the last check of each."""

from __future__ import annotations

import re

from django.core.validators import URLValidator, validate_slug
from django.db import models

from flows import encryption


class Environment(models.Model):
    """One Prefect server or Cloud workspace."""

    class CredentialKind(models.TextChoices):
        NONE = "none", "none"
        BASIC = "basic", "user:password"
        KEY = "key", "Cloud API key"

    class Colour(models.TextChoices):
        GREEN = "green", "green"
        BLUE = "blue", "blue"
        AMBER = "amber", "amber"
        RED = "red", "red"
        GREY = "grey", "grey"

    # The name in grants, commands and configuration files, hence no spaces. Django's own message speaks of a "slug".
    slug = models.CharField(
        "name",
        max_length=40,
        unique=True,
        validators=[validate_slug],
        error_messages={"invalid": "Use letters, digits, hyphens and underscores only."},
    )
    description = models.CharField(max_length=200, blank=True)
    api_url = models.CharField(
        "API URL",
        max_length=500,
        validators=[URLValidator(schemes=["http", "https"])],
        help_text="Ends in /api for a self-hosted server, for example http://prefect:4200/api.",
    )
    ui_url = models.CharField(
        "UI URL",
        max_length=500,
        blank=True,
        validators=[URLValidator(schemes=["http", "https"])],
        help_text="URL of the Prefect UI. Blank = the API URL without /api.",
    )
    credential_kind = models.CharField(
        "credential type", max_length=10, choices=CredentialKind, default=CredentialKind.NONE
    )
    # Encrypted; read and written through `credential`. Not editable, so that no form of the admin ever offers it.
    sealed_credential = models.BinaryField(default=b"", blank=True, editable=False)
    is_protected = models.BooleanField(
        "protected",
        default=False,
        help_text="Only grants that name this environment apply; grants for all environments do not.",
    )
    needs_approval = models.BooleanField(
        "require approval", default=False, help_text="Runs need approval by someone other than the requester."
    )
    needs_reason = models.BooleanField(
        "require a reason", default=False, help_text="A reason is required to run a deployment or cancel a run."
    )
    approval_minutes = models.PositiveIntegerField(
        "approval timeout", default=480, help_text="Minutes after which a request without approval expires."
    )
    # Without a maximum: an auditor may want weeks.
    independence_hours = models.PositiveSmallIntegerField(
        "independence window",
        default=24,
        help_text="Hours. An approval does not count if its approver or requester was created or changed by the other "
        "within this time before the request. 0 = off.",
    )
    # From when a run counts as stalled: see runs/stalls.py.
    pending_minutes = models.PositiveIntegerField(
        "pending limit",
        default=5,
        help_text="Minutes after which a Pending run without a process counts as stalled. 0 = never.",
    )
    late_minutes = models.PositiveIntegerField(
        "late limit",
        default=15,
        help_text="Minutes after its start time from which a run that no worker has picked up counts as stalled. "
        "0 = never.",
    )
    silent_minutes = models.PositiveIntegerField(
        "silence limit",
        default=60,
        help_text="Minutes without a heartbeat, log line or task change after which a Running run counts as stalled. "
        "0 = never.",
    )
    cancelling_minutes = models.PositiveIntegerField(
        "cancelling limit",
        default=10,
        help_text="Minutes after which a cancellation that has not taken effect counts as stalled. 0 = never.",
    )
    puts_back = models.BooleanField(
        "put back automatically",
        default=True,
        help_text="Puts a stalled Pending run back to Scheduled once if its worker is offline and started no process. "
        "Never in a protected environment.",
    )
    colour = models.CharField(max_length=10, choices=Colour, default=Colour.GREY)
    position = models.PositiveSmallIntegerField("sort order", default=0)
    # Switches that are looser than they were, for the banner: column -> was, since, by. `runs.governance.loosening`.
    loosened = models.JSONField(default=dict, blank=True, editable=False)
    is_active = models.BooleanField("enabled", default=True, help_text="Synced with Prefect; runs can be requested.")

    class Meta:
        ordering = ["position", "slug"]

    def __str__(self) -> str:
        return self.slug

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


class Health(models.Model):
    """The result of the last check of an environment. `flows.catalog.health` is the only code that writes it."""

    class State(models.TextChoices):
        UNKNOWN = "unknown", "not checked yet"
        UP = "up", "up"
        DOWN = "down", "unreachable"
        REFUSED = "refused", "authentication failed"

    # A row of its own: it is written every few seconds, and the environment's own row has recorded versions.
    environment = models.OneToOneField(Environment, models.CASCADE, primary_key=True)
    state = models.CharField(max_length=10, choices=State, default=State.UNKNOWN)
    message = models.TextField(blank=True)
    version = models.CharField(max_length=40, blank=True)
    checked_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True, help_text="When the state last changed.")
    synced_at = models.DateTimeField(null=True, help_text="When all deployments were last synced.")
    synced_from = models.CharField(
        max_length=64, blank=True, help_text="Digest of the address and credential of that sync."
    )
    sync_message = models.TextField(blank=True)
    # Of the last reading of each; empty once one succeeded. The server can answer a check and fail on every list.
    runs_failure = models.TextField(blank=True)
    deployments_failure = models.TextField(blank=True)
    runs_synced_at = models.DateTimeField(null=True, help_text="When all runs were last synced.")
    followed_at = models.DateTimeField(null=True, help_text="Last heartbeat of the event stream.")

    class Meta:
        verbose_name_plural = "health"

    def __str__(self) -> str:
        return f"{self.environment}: {self.get_state_display()}"


class WorkPool(models.Model):
    """A work pool and its workers as of the last sync. `flows.catalog.sync` is the only code that writes it."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="work_pools")
    name = models.CharField(max_length=300)
    type = models.CharField(max_length=100)
    is_paused = models.BooleanField(default=False)
    status = models.CharField(max_length=20)
    concurrency_limit = models.IntegerField(null=True)
    # JSON and not a table: workers are only displayed, and replaced as a whole by every sync.
    workers = models.JSONField(default=list, help_text="name, last_heartbeat and created_at (ISO 8601), is_online")
    synced_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="unique_work_pool_per_environment")]

    def __str__(self) -> str:
        return self.name

    @property
    def workers_online(self) -> int:
        """The number of workers that Prefect reported as online."""
        return sum(bool(worker["is_online"]) for worker in self.workers)
