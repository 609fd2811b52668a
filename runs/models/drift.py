"""How deployments of one name differ between environments."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q

from flows.models import Deployment, Environment
from flows.wording import deployment_name


class Drift(models.Model):
    """One deployment in two environments, of which `left` was added first, and in what they differ.

    `runs.drift.pairs` is the only code that writes it. A pair that does not differ has a row too, without kinds: it
    says that they were compared.
    """

    class Kind(models.TextChoices):
        VERSION = "version", "Version"
        CODE = "code", "Code"
        SCHEMA = "schema", "Parameter schema"
        DEFAULTS = "defaults", "Default parameters"
        JOB_VARIABLES = "job variables", "Job variables"
        WORK_POOL = "work pool", "Work pool"
        SCHEDULES = "schedules", "Schedules in Prefect"
        PORTAL_SCHEDULES = "portal schedules", "Schedules in the portal"
        LIMITS = "limits", "Concurrency limit"
        TAGS = "tags", "Tags"

    left = models.ForeignKey(Deployment, models.PROTECT, related_name="+")
    right = models.ForeignKey(Deployment, models.PROTECT, related_name="+")
    # Those of the deployments: grants are looked up by them.
    left_environment = models.ForeignKey(Environment, models.PROTECT, related_name="+")
    right_environment = models.ForeignKey(Environment, models.PROTECT, related_name="+")
    # Full names; they differ only where an alias says that both are the same deployment.
    left_name = models.CharField("deployment", max_length=601)
    right_name = models.CharField(max_length=601)
    # Digest of environments and names. Two names do not fit in one row of an index.
    identity = models.CharField(max_length=64, unique=True)
    kinds = ArrayField(models.CharField(max_length=20, choices=Kind), default=list)
    since = models.JSONField(default=dict, help_text="kind -> at, side, is_exact: runs.drift.since.")
    changed_at = models.DateTimeField(help_text="When the newest of its differences began.")
    # What was compared, in digests: a pair is compared again when one of them changes.
    left_inputs = models.CharField(max_length=100)
    right_inputs = models.CharField(max_length=100)

    class Meta:
        ordering = ["-changed_at", "-pk"]
        verbose_name = "difference"
        verbose_name_plural = "differences"
        default_permissions = ()
        indexes = [models.Index(fields=["-changed_at", "-id"], condition=~Q(kinds=[]), name="drift_newest")]

    def __str__(self) -> str:
        return f"{deployment_name(self.left_name)} in {self.left_environment} and {self.right_environment}"

    @property
    def labels(self) -> list[str]:
        """What differs, in the order of `Kind`."""
        return [str(kind.label) for kind in self.Kind if kind in self.kinds]
