"""Definitions of deployments: their changes in the audit trail, and what an approval binds."""

from runs.definitions.deployment_changes import record_changes
from runs.definitions.launch_check import require_unchanged, require_unchanged_since
from runs.definitions.start_check import check_started

__all__ = ["check_started", "record_changes", "require_unchanged", "require_unchanged_since"]
