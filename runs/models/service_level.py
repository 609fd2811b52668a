"""Service levels: what is expected of deployments, and where it does not hold."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from flows.models import Deployment, Environment
from flows.wording import deployment_name


class ServiceLevel(models.Model):
    """One expectation of the deployments that it selects. Never edited: removed and created again.

    `runs.levels.level_changes` is the only writer.
    """

    class Kind(models.TextChoices):
        LATE = "late", "Starts late"
        LONG = "long", "Runs too long"
        UNUSUAL = "unusual", "Runs longer than usual"
        SILENT = "silent", "Did not complete"
        FAILING = "failing", "Fails too often"

    environment = models.ForeignKey(Environment, models.PROTECT, related_name="service_levels")
    full_name = models.CharField("deployment", max_length=601, blank=True, help_text="Blank: all deployments.")
    tag = models.CharField(max_length=300, blank=True, help_text="Blank: with any tags.")
    kind = models.CharField(max_length=10, choices=Kind)
    threshold = models.FloatField(help_text="In the unit of its kind: minutes, times, hours or percent.")
    days = models.PositiveSmallIntegerField(default=0, help_text="Of which runs the share is taken; 0 for other kinds.")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="service_levels")
    runbook = models.URLField(max_length=500, blank=True)
    created_at = models.DateTimeField("created", db_default=Now())
    created_by_name = models.CharField(max_length=200)
    removed_at = models.DateTimeField("removed", null=True)
    removed_by_name = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        verbose_name = "service level"
        default_permissions = ["view"]

    def __str__(self) -> str:
        return f"{self.sentence} ({self.selector})"

    @property
    def selector(self) -> str:
        """Which deployments it is about, in words."""
        return deployment_name(self.full_name) or (f"tag {self.tag}" if self.tag else "all deployments")

    @property
    def sentence(self) -> str:
        """When it is breached, in words."""
        return SENTENCES[self.Kind(self.kind)].format(number=f"{self.threshold:g}", days=self.days)


SENTENCES: dict[ServiceLevel.Kind, str] = {
    ServiceLevel.Kind.LATE: "Starts more than {number} min late",
    ServiceLevel.Kind.LONG: "Runs longer than {number} min",
    ServiceLevel.Kind.UNUSUAL: "Runs longer than {number} times the usual p95",
    ServiceLevel.Kind.SILENT: "No completed run for {number} h",
    ServiceLevel.Kind.FAILING: "More than {number}% failed in {days} d",
}


class Breach(models.Model):
    """That a deployment does not meet a service level. `runs.levels.evaluation` is the only writer.

    A removed level clears its breaches.
    """

    level = models.ForeignKey(ServiceLevel, models.PROTECT, related_name="breaches")
    deployment = models.ForeignKey(Deployment, models.PROTECT, related_name="breaches", db_index=False)
    value = models.FloatField(help_text="When it was opened, in the unit of the threshold.")
    opened_at = models.DateTimeField("opened")
    cleared_at = models.DateTimeField("cleared", null=True)

    class Meta:
        ordering = ["-opened_at", "-pk"]
        verbose_name_plural = "breaches"
        default_permissions = ()
        constraints = [
            # Alarmed once, also if two processes evaluate at the same time.
            models.UniqueConstraint(
                fields=["level", "deployment"], condition=models.Q(cleared_at=None), name="unique_open_breach"
            )
        ]
        indexes = [models.Index(fields=["deployment", "-opened_at"], name="breaches_by_deployment")]

    def __str__(self) -> str:
        return f"breach {self.pk} of level {self.level_id}"

    @property
    def is_open(self) -> bool:
        return self.cleared_at is None
