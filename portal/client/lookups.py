"""What a name stands for: a deployment or a run that a caller gave by itself, by its id or by its name."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from .answers import Deployment, Run, RunRequest
from .client_errors import Conflict, NotFound

if TYPE_CHECKING:
    from .portal_api import DeploymentReference, Portal, RunReference

# How many candidates an error lists.
MOST = 10


def is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def deployment_path(name: DeploymentReference) -> str:
    return name.id if isinstance(name, Deployment) else str(name)


def deployment_name(name: DeploymentReference) -> str:
    return name.name if isinstance(name, Deployment) else str(name)


def run_place(portal: Portal, run: RunReference) -> tuple[str, str]:
    """Return the environment and Prefect's id of a run; raises `NotFound`, or `Conflict` if it has not begun."""
    if isinstance(run, Run):
        return run.environment, run.id
    if isinstance(run, RunRequest):
        if run.run is None:
            raise Conflict(409, "run.not_started", f"Request {run.id} has no run yet: {run.state_name}.")
        return run.environment, run.run
    found = list(portal.runs(**filter_of(str(run))))
    if not found:
        raise NotFound(404, "run.unknown", f"Unknown run {run}, or you cannot see it.")
    if len(found) > 1:
        names = ", ".join(f"{each.id} ({each.state_name} in {each.environment})" for each in found[:MOST])
        raise NotFound(404, "run.ambiguous", f"{run} matches several runs. Give the id of one: {names}.")
    return found[0].environment, found[0].id


def filter_of(reference: str) -> dict[str, str]:
    kind, _, number = reference.partition(":")
    if kind == "request" and number.isdecimal():
        return {"request": number}
    return {"id": reference} if is_uuid(reference) else {"name": reference}
