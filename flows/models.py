"""What can be run: environments, the deployments mirrored from them, and who may do what with them."""

from __future__ import annotations

import re
from typing import Any

from django.conf import settings
from django.contrib.auth.models import Group
from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import URLValidator, validate_slug
from django.db import models
from django.db.models.functions import Now

from flows import vault


class Verb(models.TextChoices):
    """What a grant may allow or deny."""

    SEE = "see", "see"
    TRIGGER = "trigger", "trigger"
    CANCEL = "cancel", "cancel"
    APPROVE = "approve", "approve"
    SCHEDULE = "schedule", "schedule"
    MANAGE = "manage", "manage"


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

    slug = models.CharField("name", max_length=40, unique=True, validators=[validate_slug])
    description = models.CharField(max_length=200, blank=True)
    api_url = models.CharField(
        "API address",
        max_length=500,
        validators=[URLValidator(schemes=["http", "https"])],
        help_text="Ends in /api for a server of your own, for example http://prefect:4200/api.",
    )
    ui_url = models.CharField(
        "UI address",
        max_length=500,
        blank=True,
        validators=[URLValidator(schemes=["http", "https"])],
        help_text="Where people open Prefect's own pages. Left empty: the API address without /api.",
    )
    credential_kind = models.CharField(max_length=10, choices=CredentialKind, default=CredentialKind.NONE)
    sealed_credential = models.BinaryField(default=b"", blank=True, editable=False)
    is_protected = models.BooleanField(
        "protected",
        default=False,
        help_text="Only grants that name this environment count here; grants for every environment do not.",
    )
    needs_approval = models.BooleanField(default=False, help_text="A run waits until somebody else approves it.")
    needs_reason = models.BooleanField(default=False, help_text="A run and a cancel must say why.")
    approval_minutes = models.PositiveIntegerField(default=480, help_text="An approval not given in this time expires.")
    colour = models.CharField(max_length=10, choices=Colour, default=Colour.GREY)
    position = models.PositiveSmallIntegerField(default=0)
    is_active = models.BooleanField(default=True, help_text="Off: no longer synced, nothing can be asked for.")

    class Meta:
        ordering = ["position", "slug"]

    def __str__(self) -> str:
        return self.slug

    @property
    def credential(self) -> str:
        return vault.unseal(self.sealed_credential) if self.sealed_credential else ""

    @credential.setter
    def credential(self, text: str) -> None:
        self.sealed_credential = vault.seal(text) if text else b""

    @property
    def prefect_ui(self) -> str:
        """Where Prefect's own pages begin, without a trailing slash."""
        return self.ui_url.rstrip("/") or re.sub(r"/api/?$", "", self.api_url)


class Health(models.Model):
    """What the last look at an environment found. `flows.health` is the only code that writes it."""

    class State(models.TextChoices):
        UNKNOWN = "unknown", "not checked yet"
        UP = "up", "up"
        DOWN = "down", "unreachable"
        REFUSED = "refused", "wrong credential"

    environment = models.OneToOneField(Environment, models.CASCADE, primary_key=True)
    state = models.CharField(max_length=10, choices=State, default=State.UNKNOWN)
    message = models.TextField(blank=True)
    version = models.CharField(max_length=40, blank=True)
    checked_at = models.DateTimeField(null=True)
    changed_at = models.DateTimeField(null=True, help_text="Since when the state is what it is.")
    synced_at = models.DateTimeField(null=True, help_text="When deployments were last read completely.")
    sync_message = models.TextField(blank=True)
    swept_at = models.DateTimeField(null=True, help_text="When runs were last read completely.")
    followed_at = models.DateTimeField(null=True, help_text="When the event stream last showed a sign of life.")

    class Meta:
        verbose_name_plural = "health"

    def __str__(self) -> str:
        return f"{self.environment}: {self.get_state_display()}"


class WorkPool(models.Model):
    """A work pool and its workers. `flows.catalogue` is the only code that writes it."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="work_pools")
    name = models.CharField(max_length=300)
    type = models.CharField(max_length=100)
    is_paused = models.BooleanField(default=False)
    status = models.CharField(max_length=20)
    concurrency_limit = models.IntegerField(null=True)
    workers = models.JSONField(default=list, help_text="name, last_heartbeat (ISO 8601), is_online")
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="one_work_pool_a_name")]

    def __str__(self) -> str:
        return self.name

    @property
    def workers_online(self) -> int:
        return sum(bool(worker["is_online"]) for worker in self.workers)


class Deployment(models.Model):
    """A deployment as Prefect last showed it. `flows.catalogue` is the only code that writes it."""

    environment = models.ForeignKey(Environment, models.PROTECT, related_name="deployments")
    prefect_id = models.UUIDField()
    flow_id = models.UUIDField()
    flow_name = models.CharField(max_length=300)
    name = models.CharField(max_length=300)
    full_name = models.CharField(max_length=601, help_text="flow name/deployment name, as Prefect writes it")
    description = models.TextField(blank=True)
    tags = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    parameter_schema = models.JSONField(default=dict)
    parameter_defaults = models.JSONField(default=dict)
    schema_fingerprint = models.CharField(max_length=64)
    enforces_schema = models.BooleanField(default=True)
    schedules = models.JSONField(default=list, help_text="description, is_active")
    is_paused = models.BooleanField("paused", default=False)
    work_pool_name = models.CharField("work pool", max_length=300, blank=True)
    work_queue_name = models.CharField("work queue", max_length=300, blank=True)
    status = models.CharField(max_length=20, blank=True)
    concurrency_limit = models.IntegerField(null=True)
    version = models.CharField(max_length=300, blank=True)
    entrypoint = models.CharField(max_length=1000, blank=True)
    job_variables = models.JSONField(default=dict)
    created_upstream_at = models.DateTimeField(null=True)
    updated_upstream_at = models.DateTimeField(null=True)
    seen_at = models.DateTimeField(help_text="When the catalogue last read it.")
    gone_at = models.DateTimeField("gone since", null=True, help_text="When Prefect no longer had it.")

    class Meta:
        ordering = ["full_name"]
        constraints = [models.UniqueConstraint(fields=["environment", "prefect_id"], name="one_deployment_an_id")]
        indexes = [
            models.Index(fields=["environment", "full_name"]),
            GinIndex(fields=["tags"], name="deployment_tags"),
        ]
        permissions = [
            ("trigger_deployment", "Can ask for runs"),
            ("cancel_deployment", "Can cancel runs"),
            ("approve_deployment", "Can approve runs"),
            ("manage_deployment", "Can pause and resume"),
        ]

    def __str__(self) -> str:
        return self.full_name

    @property
    def prefect_url(self) -> str:
        return f"{self.environment.prefect_ui}/deployments/deployment/{self.prefect_id}"


class Alias(models.Model):
    """A stable name for a deployment, which outlives its being deployed anew."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="aliases")
    name = models.CharField(max_length=100, validators=[validate_slug])
    full_name = models.CharField("deployment", max_length=601, help_text="flow name/deployment name")

    class Meta:
        ordering = ["environment", "name"]
        verbose_name_plural = "aliases"
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="one_alias_a_name")]

    def __str__(self) -> str:
        return self.name


class Grant(models.Model):
    """A person's or a group's permission or prohibition; never edited: revoked and made anew.

    Empty selectors match everything, except that an allowing grant must name a protected environment.
    `runs.granting` is the only code that writes it.
    """

    class Effect(models.TextChoices):
        ALLOW = "allow", "allow"
        DENY = "deny", "deny"

    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, null=True, blank=True, related_name="grants")
    group = models.ForeignKey(Group, models.PROTECT, null=True, blank=True, related_name="grants")
    effect = models.CharField(max_length=5, choices=Effect, default=Effect.ALLOW)
    verbs = ArrayField(models.CharField(max_length=20, choices=Verb))
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="grants")
    tag = models.CharField(max_length=300, blank=True)
    flow_name = models.CharField("flow", max_length=300, blank=True)
    full_name = models.CharField("deployment", max_length=601, blank=True, help_text="flow name/deployment name")
    valid_from = models.DateTimeField(null=True, blank=True)
    valid_until = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    granted_by_name = models.CharField(max_length=200, editable=False)
    granted_at = models.DateTimeField(db_default=Now(), editable=False)
    revoked_at = models.DateTimeField(null=True, editable=False)
    revoked_by_name = models.CharField(max_length=200, blank=True, editable=False)

    class Meta:
        ordering = ["-granted_at"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(person__isnull=False, group__isnull=True)
                | models.Q(person__isnull=True, group__isnull=False),
                name="grant_has_one_subject",
            )
        ]

    def __str__(self) -> str:
        return f"{self.subject} {self.effect} {', '.join(self.verbs)} on {self.selector}"

    @property
    def subject(self) -> str:
        return str(self.person or self.group)

    @property
    def selector(self) -> str:
        parts: list[Any] = [
            self.environment or "every environment",
            self.full_name or (f"flow {self.flow_name}" if self.flow_name else ""),
            f"tag {self.tag}" if self.tag else "",
        ]
        return ", ".join(str(part) for part in parts if part)
