"""Refuse acts on a deployment that left the scope of its environment: an administrator must confirm its rules first."""

from __future__ import annotations

from flows.catalog import placement
from flows.models import Deployment
from flows.prefect_api.records import DeploymentRecord
from flows.shared_servers import read_together
from runs.errors import Refused


def require_in_scope(deployment: Deployment) -> None:
    """Refuse a deployment that the last sync found outside of the scope of its environment."""
    if deployment.left_scope_at:
        raise left_scope(deployment)


def require_here(deployment: Deployment, record: DeploymentRecord) -> None:
    """Refuse a deployment that is outside of that scope as Prefect has it now. A changed tag counts at once."""
    environment = deployment.environment
    if environment.is_scoped and not placement.is_here(environment, read_together(environment), record):
        raise left_scope(deployment)


def left_scope(deployment: Deployment) -> Refused:
    return Refused(
        "deployment.left_scope",
        f"{deployment} is no longer in the scope of {deployment.environment}. An administrator must confirm where it "
        "belongs.",
    )
