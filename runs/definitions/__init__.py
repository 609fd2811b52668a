"""Definitions of deployments: their changes in the audit trail."""

from runs.definitions.deployment_changes import record_changes

__all__ = ["record_changes"]
