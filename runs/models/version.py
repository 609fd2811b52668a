"""Versions of the rows that decide who can do what, recorded by triggers for every change."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex
from django.db import models


class RowVersion(models.Model):
    """A row after one change. The trigger function `record_version` is the only code that writes it.

    Which tables have versions, and which of their columns are recorded: runs/migrations/triggers.sql.
    """

    table_name = models.CharField(max_length=63)
    row_pk = models.CharField(max_length=100)
    label = models.CharField(
        max_length=63, help_text="insert, update, delete, found, or the name of a secret column that changed."
    )
    # Only the columns on the allow-list in triggers.sql: a new column is not recorded until it is added there.
    data = models.JSONField(help_text="Column -> value after the change; for a deleted row, before it.")
    transaction = models.BigIntegerField(help_text="pg_current_xact_id(); the audit entry of the change has it too.")
    created_at = models.DateTimeField(help_text="When the row changed, not when its transaction began.")

    class Meta:
        ordering = ["pk"]
        default_permissions = ()
        indexes = [
            models.Index(fields=["table_name", "row_pk", "-id"], name="row_version"),
            models.Index(fields=["created_at"], name="row_version_created"),
            # Finds the versions of related rows, such as the group memberships of a user.
            GinIndex(fields=["data"], name="row_version_data", opclasses=["jsonb_path_ops"]),
        ]

    def __str__(self) -> str:
        return f"{self.label} of {self.table_name} {self.row_pk}"
