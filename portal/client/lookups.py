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


def deployment_id(portal: Portal, environment: str, name: DeploymentReference) -> str:
    """Return Prefect's id of a deployment; raises `NotFound` with the candidates."""
    if isinstance(name, Deployment):
        return name.id
    if isinstance(name, UUID) or is_uuid(name):
        return str(name)
    if "/" in name:
        found = list(portal.deployments(environment, name=name))
    else:
        there = list(portal.deployments(environment))
        found = [each for each in there if name in (each.flow, each.name.rpartition("/")[2])]
    found = [each for each in found if not each.is_deleted] or found
    if len(found) == 1:
        return found[0].id
    if found:
        names = ", ".join(each.name for each in found[:MOST])
        raise NotFound(404, "deployment.ambiguous", f"{name} matches several in {environment}. Name one: {names}.")
    raise NotFound(404, "deployment.unknown", f"{environment} has no deployment {name}, or you cannot see it.")


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
