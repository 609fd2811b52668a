"""Whether the approvals of a change request still hold: asked again right before each start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils import timezone

from flows.models import Deployment
from runs import requests
from runs.access.decisions import Permissions, Target
from runs.changes.evidence import require_retry_evidence
from runs.changes.stages import ONE, approvers_of, emergency_override, steps
from runs.errors import Refused
from runs.governance.requirements import Requirements, requirements_of
from runs.models import Action, ChangeRequest, RunRequest, Verb
from runs.requests.frozen_values import values_of
from runs.shared_reads import shared


def require_approved(run_request: RunRequest) -> None:
    """Refuse a launch whose approvals no longer hold. Called again right before the launch, under the row lock."""
    change, deployment = run_request.change, run_request.deployment
    # 1. The requirements are still those of the request; without any, there is nothing to check.
    targets = [Target.of(deployment)] if change.kind == ChangeRequest.Kind.RUN else targets_of(change)
    requirements = requirements_of(change, *targets)
    require_same_stages(change, deployment, requirements)
    if not change.needs_approval and not requirements.stages:
        return
    require_approvals_hold(change, deployment, values_of(run_request))
    # 2. Not too long ago.
    if change.expires_at and change.expires_at <= timezone.now():
        raise Refused("approval.too_old", "The approval is too old. Submit a new request.")


def require_other_person(change: ChangeRequest, deployment: Deployment) -> None:
    """Refuse to start what an agent asked for in a protected environment if no one but its owner let it.

    Regardless of the policies, and of who overrode the approvals.
    """
    if change.agent_id is None or not deployment.environment.is_protected:
        return
    bypass = emergency_override(change)
    people = [bypass.by_id] if bypass else [each.by_id for each in approvers_of(change)]
    if not any(person != change.requested_by_id for person in people):
        raise Refused(
            "agent.needs_person",
            f"An agent asked for this run in {deployment.environment}, which is protected, so a person other than its "
            "owner must approve it. Submit a new request.",
        )


def require_same_stages(change: ChangeRequest, deployment: Deployment, requirements: Requirements) -> None:
    """Refuse if other approvals are required now than at request time."""
    if requirements.stages and list(requirements.stages) != change.policy.get("stages", [ONE]):
        raise Refused(
            "approval.requirements_changed",
            f"The requirements for running {deployment} have changed since. Submit a new request.",
        )


def require_approvals_hold(change: ChangeRequest, deployment: Deployment, values: Mapping[str, Any]) -> None:
    """Refuse approvals that no longer count, or are not enough."""
    # 1. Each was given by someone who still has permission, with these values.
    for each in approvers_of(change):
        if not Permissions.of_person(each.by).decide(Verb.APPROVE, deployment, values):
            raise Refused(
                "approval.approver_lost_permission",
                f"{each.by_name} approved this and no longer has permission to. Submit a new request.",
                approver=each.by_name,
            )
    # 2. Each is still in the group of the stage they approved.
    found = steps(change)
    for each in approvers_of(change):
        group = next((step.group for step in found if step.position == each.stage), "")
        if group and not each.by.groups.filter(name=group).exists():
            raise Refused(
                "approval.approver_left_group",
                f"{each.by_name} approved this and is no longer in the group {group}. Submit a new request.",
                approver=each.by_name,
                group=group,
            )
    # 3. All stages are complete.
    if not found or any(not step.is_done for step in found):
        raise Refused("approval.insufficient", "The approvals are no longer valid. Submit a new request.")


def require_retry_approved(action: Action, run_request: RunRequest, requirements: Requirements) -> None:
    """Refuse a retry whose approvals do not hold: its own, or those of a request that was approved with retries.

    Those count for as long as the request may be retried: that the approval is old is no reason.
    """
    deployment, values = run_request.deployment, values_of(run_request)
    if action.change:
        require_retry_evidence(action.change)
    elif not requests.needs_new_approval(run_request, requirements):
        return
    elif requests.retries_left(run_request, besides=action) < 1:
        raise Refused("retry.needs_approval", f"A run of {deployment} needs an approval, and so does each retry.")
    change = action.change or run_request.change
    require_same_stages(change, deployment, requirements)
    require_approvals_hold(change, deployment, values)


def targets_of(change: ChangeRequest) -> list[Target]:
    """Return the targets of its runs: what they require together is what was approved."""
    # Each launch asks: reading all specs would cost a backfill the square of its size.
    deployments = Deployment.objects.filter(pk__in=change.specs.values("deployment")).select_related("environment")
    found = shared(("deployments", change.pk), lambda: list(deployments.order_by("pk")))
    return [Target.of(deployment) for deployment in found]
