"""Definitions of deployments: their changes in the audit trail, and what an approval binds."""

from runs.definitions.deployment_changes import record_changes
from runs.definitions.launch_check import require_unchanged

__all__ = ["record_changes", "require_unchanged"]
