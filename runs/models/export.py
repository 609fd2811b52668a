"""Exports of the audit trail that are too large for one response."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now


class Export(models.Model):
    """A filtered export of the audit trail. `runs.audit.export_files` is the only code that writes it."""

    class State(models.TextChoices):
        WANTED = "wanted", "Preparing"
        READY = "ready", "Ready"

    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="exports")
    file_format = models.CharField(max_length=10)
    criteria = models.JSONField(help_text="Filters, in the format of runs.audit.queries.")
    # Fixed at the start: the export must not grow while it is written.
    up_to = models.BigIntegerField(help_text="Newest entry when the export was requested.")
    total = models.BigIntegerField()
    rows = models.BigIntegerField(default=0, help_text="Number of entries in the file so far.")
    # Where the next part continues, so that a task that dies loses at most one part.
    reached = models.BigIntegerField(null=True, help_text="Last entry written; the newest is written first.")
    size = models.BigIntegerField(default=0, help_text="In bytes.")
    state = models.CharField(max_length=10, choices=State, default=State.WANTED)
    requested_at = models.DateTimeField(db_default=Now())
    forgotten_at = models.DateTimeField(help_text="When the file is deleted.")

    class Meta:
        ordering = ["-pk"]
        default_permissions = ()

    def __str__(self) -> str:
        return f"audit-{self.up_to}.{self.file_format}"

    @property
    def is_ready(self) -> bool:
        return self.state == self.State.READY

    @property
    def per_cent(self) -> int:
        # Below 100 until the state says ready: entries may be written after the total was counted.
        return 100 if self.is_ready else min(99, int(100 * self.rows / max(self.total, 1)))


class ExportPart(models.Model):
    """A compressed part of the file. In the database, because the worker and the web server may share no disk."""

    export = models.ForeignKey(Export, models.CASCADE, related_name="parts")
    number = models.PositiveIntegerField()
    content = models.BinaryField()

    class Meta:
        ordering = ["export", "number"]
        default_permissions = ()
        constraints = [models.UniqueConstraint(fields=["export", "number"], name="unique_part_per_export")]

    def __str__(self) -> str:
        return f"part {self.number} of {self.export}"
