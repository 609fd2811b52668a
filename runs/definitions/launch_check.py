"""Compare the definition that a request froze with the one that Prefect has when it is launched."""

from __future__ import annotations

import time
from uuid import UUID

from flows import definition
from flows.catalog import definition_reader
from flows.definition import Definition
from flows.models import Environment
from flows.prefect_api.records import DeploymentRecord
from flows.wording import deployment_name
from runs.access.decisions import Target
from runs.errors import Refused
from runs.governance.in_scope import require_here
from runs.governance.requirements import requirements_for
from runs.models import Action, ChangeRequest, RunRequest, RunSpec
from runs.models.action import OPEN, Kind, State

# For how many seconds launches of one deployment share a reading: one for each would halve their rate.
SHARED_FOR = 2.0
# environment, address, deployment -> when the reading began, and what was read. Of this process.
READINGS: dict[tuple[int, str, UUID], tuple[float, DeploymentRecord, Definition]] = {}


def require_unchanged(run_request: RunRequest) -> None:
    """Refuse the launch of an approved request whose deployment is not the one approved, read from Prefect now.

    Raises `Refused`, or `PrefectError` when Prefect cannot be asked. What needs no approval runs as it is deployed.
    """
    require_unchanged_since(run_request.change, run_request.spec, run_request.environment)


def require_unchanged_since(change: ChangeRequest, spec: RunSpec, environment: Environment) -> None:
    """Do the same for what another change request froze, such as one for a retry."""
    requirements = requirements_for(Target.of(spec.deployment))
    if not change.needs_approval and not requirements.refuse_moving and not environment.is_scoped:
        return
    record, found = read_shared(environment, spec.deployment_prefect_id)
    require_here(spec.deployment, record)
    requirements.require_pinned(spec.deployment_name, definition.with_profile(found, spec.profile))
    if change.needs_approval and definition.fingerprint(found) != spec.definition_fingerprint:
        fields = definition.changed_fields(spec.definition, found)
        raise Refused(
            "definition.changed",
            f"{deployment_name(spec.deployment_name)} was changed in Prefect after the request: {', '.join(fields)}. "
            "Submit a new request.",
            fields=fields,
        )


def approved_spec(run_request: RunRequest) -> RunSpec:
    """Return what was approved for the last start: by a retry with an approval of its own, else by the request."""
    retries = Action.objects.filter(run__run_request=run_request, kind=Kind.RETRY, change__isnull=False)
    last = retries.filter(state__in=[*OPEN, State.DONE]).order_by("-pk").first()
    return last.change.specs.get() if last and last.change else run_request.spec


def read_shared(environment: Environment, deployment_id: UUID) -> tuple[DeploymentRecord, Definition]:
    """Return the deployment that Prefect has, or had `SHARED_FOR` seconds ago at most, and its definition."""
    now = time.monotonic()
    for key in [key for key, (began, *_) in READINGS.items() if now - began >= SHARED_FOR]:
        READINGS.pop(key, None)
    key = (environment.pk, environment.server.api_url, deployment_id)
    # Not looked up again below: another thread may drop it meanwhile.
    found = READINGS.get(key)
    if found is None:
        found = READINGS[key] = now, *definition_reader.read(environment, deployment_id)
    return found[1:]
