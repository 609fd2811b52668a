"""Why the launch of a waiting request would be refused, or would differ from what was requested."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils import timezone

from flows import definition, server_identity
from portal.ui import rule_labels
from runs.governance.requirements import Requirements
from runs.models import RunRequest
from runs.models.request import State


@dataclass(frozen=True, slots=True)
class LaunchWarning:
    """A reason why the launch of a waiting request would be refused, or would differ from what was requested."""

    code: str
    text: str


def warnings(run_request: RunRequest, requirements: Requirements) -> list[LaunchWarning]:
    """List what changed since the request, so that no one approves what `launch` would refuse."""
    if run_request.state not in (State.HELD, State.APPROVED):
        return []
    change, spec = run_request.change, run_request.spec
    deployment, planned, stages = run_request.deployment, run_request.scheduled_for, list(requirements.stages)
    changed = ", ".join(definition.changed_fields(spec.definition, deployment.definition))
    # The codes are those with which `runs.dispatch.launch` would refuse.
    table = [
        (
            "deployment.gone",
            deployment.deleted_upstream_at is not None,
            f"{deployment} is no longer deployed in {run_request.environment}. It would be refused at launch.",
        ),
        (
            "deployment.left_scope",
            deployment.left_scope_at is not None,
            f"{deployment} is no longer in the scope of {run_request.environment}. It would be refused at launch.",
        ),
        (
            "schema.changed",
            deployment.schema_fingerprint != spec.schema_fingerprint,
            "The parameters of the deployment changed after the request. It would be refused at launch.",
        ),
        (
            "definition.changed",
            change.needs_approval and spec.definition_fingerprint != deployment.definition_fingerprint,
            f"The deployment was changed in Prefect after the request: {changed}. It would be refused at launch.",
        ),
        (
            "definition.moving",
            requirements.refuse_moving and bool(spec.definition.get("moving")),
            "A policy now refuses code that is not pinned. It would be refused at launch.",
        ),
        (
            "environment.moved",
            not server_identity.is_same_address(run_request.environment.server.api_url, spec.api_url),
            f"The API address of {run_request.environment} changed after the request. It would be refused at launch.",
        ),
        (
            "approval.requirements_changed",
            bool(stages) and stages != change.policy.get("stages", stages),
            f"It now needs {rule_labels.approvals_label(stages)}; at request time it needed "
            f"{rule_labels.approvals_label(change.policy.get('stages', []))}. It would be refused at launch.",
        ),
        (
            "start.passed",
            planned is not None and planned < timezone.now(),
            "Its scheduled time has passed: it would start immediately.",
        ),
    ]
    return [LaunchWarning(code, text) for code, applies, text in table if applies]
