"""Deployments mirrored from an environment, and stable names for them."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.core.validators import validate_slug
from django.db import models

from flows.models.environment import Environment
from flows.models.stored_row import StoredRow
from flows.wording import deployment_name


class Deployment(StoredRow):
    """A deployment as of the last sync. `flows.catalog.sync` is the only code that writes it."""

    # PROTECT: runs, requests and the audit trail outlive a decision to drop an environment.
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="deployments")
    prefect_id = models.UUIDField()
    flow_id = models.UUIDField()
    flow_name = models.CharField(max_length=300)
    name = models.CharField(max_length=300)
    # Stored and not computed: grants, aliases and searches match it in SQL.
    full_name = models.CharField(max_length=601, help_text="flow name/deployment name, as Prefect writes it")
    description = models.TextField(blank=True)
    tags = ArrayField(models.CharField(max_length=300), default=list, blank=True)
    parameter_schema = models.JSONField(default=dict)
    parameter_defaults = models.JSONField(default=dict)
    schema_fingerprint = models.CharField(max_length=64)
    enforces_schema = models.BooleanField(default=True)
    schedules = models.JSONField(default=list, help_text="id, slug, description, is_active, rule, parameters.")
    is_paused = models.BooleanField("paused", default=False)
    work_pool_name = models.CharField("work pool", max_length=300, blank=True)
    work_queue_name = models.CharField("work queue", max_length=300, blank=True)
    status = models.CharField(max_length=20, blank=True)
    concurrency_limit = models.IntegerField(null=True)
    collision_strategy = models.CharField(
        max_length=20, blank=True, help_text="What becomes of runs beyond the limit: ENQUEUE or CANCEL_NEW."
    )
    shared_limit = models.CharField(
        max_length=300, blank=True, help_text="Name of the global concurrency limit that it shares with others."
    )
    version = models.CharField(max_length=300, blank=True)
    entrypoint = models.CharField(max_length=1000, blank=True)
    job_variables = models.JSONField(default=dict, help_text="Without what may be secret: flows.job_variables.")
    definition = models.JSONField(default=dict, help_text="What it would run, as flows.definition describes it.")
    definition_fingerprint = models.CharField(max_length=64, blank=True)
    answer_digest = models.CharField(
        max_length=64,
        blank=True,
        help_text="Digest of Prefect's last answer, to find what changed.",
    )
    created_upstream_at = models.DateTimeField(null=True)
    updated_upstream_at = models.DateTimeField(null=True)
    # Times of Prefect end in `_upstream_at`; `synced_at` is the portal's own.
    synced_at = models.DateTimeField(help_text="When the catalog last synced it.")
    deleted_upstream_at = models.DateTimeField(
        "deleted in Prefect", null=True, help_text="When a sync first found it missing in Prefect."
    )
    left_scope_at = models.DateTimeField(
        "left the scope",
        null=True,
        help_text="When a sync first found it outside of the scope of its environment. Until an administrator confirms "
        "where it belongs, nothing of it can be run, and the other columns are those from before.",
    )

    class Meta:
        ordering = ["full_name"]
        constraints = [
            models.UniqueConstraint(fields=["environment", "prefect_id"], name="unique_deployment_per_environment")
        ]
        indexes = [
            models.Index(fields=["environment", "full_name"]),
            GinIndex(fields=["tags"], name="deployment_tags"),
        ]
        permissions = [
            ("trigger_deployment", "Can request runs"),
            ("cancel_deployment", "Can cancel runs"),
            ("approve_deployment", "Can approve runs"),
            ("pause_deployment", "Can pause and resume"),
            ("manage_deployment", "Can grant permissions they hold, freeze and unfreeze"),
        ]

    def __str__(self) -> str:
        return deployment_name(self.full_name)

    @property
    def prefect_url(self) -> str:
        """Return the deployment's address in the Prefect UI."""
        return f"{self.environment.server.prefect_ui}/deployments/deployment/{self.prefect_id}"


class Alias(models.Model):
    """A stable name for a deployment. It refers to the name, not the row, so it survives a redeploy."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="aliases")
    name = models.CharField(
        max_length=100,
        validators=[validate_slug],
        error_messages={"invalid": "Use letters, digits, hyphens and underscores only."},
    )
    full_name = models.CharField("deployment", max_length=601, help_text="flow name/deployment name")

    class Meta:
        ordering = ["environment", "name"]
        verbose_name_plural = "aliases"
        constraints = [models.UniqueConstraint(fields=["environment", "name"], name="unique_alias_per_environment")]

    def __str__(self) -> str:
        return self.name
