"""Artifacts of runs."""

from __future__ import annotations

from django.db import models

from flows.models import Environment
from flows.models.stored_row import StoredRow
from runs.models.run import Run


class Artifact(StoredRow):
    """An artifact of a run, mirrored from Prefect. `runs.mirror.artifacts` is the only code that writes it."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="artifacts")
    run = models.ForeignKey(Run, models.CASCADE, related_name="artifacts", db_index=False)
    prefect_id = models.UUIDField()
    key = models.CharField(max_length=300, blank=True)
    type = models.CharField(max_length=50, blank=True)
    description = models.TextField(blank=True)
    # Empty for artifacts above the size limit of `runs.mirror.artifacts`.
    data = models.JSONField(null=True, help_text="Text, rows or a number, depending on the type.")
    created_upstream_at = models.DateTimeField(null=True)
    updated_upstream_at = models.DateTimeField(null=True)

    class Meta:
        ordering = [models.F("created_upstream_at").asc(nulls_last=True), "pk"]
        constraints = [models.UniqueConstraint(fields=["run", "prefect_id"], name="unique_artifact_per_run")]
        indexes = [
            models.Index(fields=["environment", "key", "-created_upstream_at"], name="artifact_by_key"),
            models.Index(fields=["-created_upstream_at", "-id"], name="artifacts_sorted"),
        ]

    def __str__(self) -> str:
        return self.key.strip() or self.type.strip() or str(self.prefect_id)
