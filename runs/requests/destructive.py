"""Runs that delete data, as their deployment declares: a tag for every run, or values of a parameter."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from flows import parameters as schemas
from flows.models import Deployment
from flows.wording import is_name_of
from runs.errors import Refused

TAG = "destructive"


def is_destructive(deployment: Deployment, values: Mapping[str, Any]) -> bool:
    """Return whether a run with these values, defaults included, deletes data."""
    return TAG in deployment.tags or bool(schemas.destructive_parameters(deployment.parameter_schema, values))


def require_name_typed(deployment: Deployment, values: Mapping[str, Any], confirmation: str) -> None:
    """Refuse a run that deletes data unless the name of its deployment was typed."""
    if is_destructive(deployment, values) and not is_name_of(deployment.full_name, confirmation):
        raise Refused(
            "destructive.unconfirmed",
            f"This run of {deployment} deletes data. Type {deployment} to confirm; on the command line, use --confirm.",
            confirmation=deployment.full_name,
        )
