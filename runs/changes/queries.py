"""The requests that need a person's approval."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects
from django.utils import timezone

from flows import encryption
from flows.models import Deployment
from runs import changes, requests
from runs.access.decisions import Permissions
from runs.audit import signatures
from runs.models import Approval, BreakGlass, RunRequest, Verb

# Launched requests among which the last one with signed approvals is looked for.
COMPARED = 5


def waiting_for(permissions: Permissions) -> list[int]:
    """Return the primary keys of the requests that the person can approve now, in at most four queries.

    Left out are their own requests and those made on their behalf, those they have already approved, those whose
    current stage is for another group, and those with values that none of their grants covers.
    """
    # Menus and the overview count these on every page: start with what needs no query.
    if not permissions.can_any(Verb.APPROVE):
        return []
    # Values are decrypted and checked one by one, so only for people whose grant has a condition.
    if permissions.has_condition(Verb.APPROVE):
        rows = open_to(permissions).select_related("deployment__environment")
        approvable = [row for row in rows if permissions.decide(Verb.APPROVE, row.deployment, values_of(row))]
    else:
        approvable = list(open_to(permissions).only("digest", "policy", "needs_approval"))
    elsewhere = waiting_for_others(permissions, approvable)
    return [row.pk for row in approvable if row.pk not in elsewhere]


def open_to(permissions: Permissions) -> QuerySet[RunRequest]:
    """Return the candidates as far as SQL can decide: stages and conditions on values are checked in Python."""
    own = Approval.objects.filter(
        run_request=OuterRef("pk"), by=permissions.user.pk, approved=True, digest=OuterRef("digest")
    )
    return (
        RunRequest.objects.filter(permissions.q(Verb.SEE, deployment="deployment__"), state=RunRequest.State.WAITING)
        .filter(permissions.q(Verb.APPROVE, deployment="deployment__"), expires_at__gt=timezone.now())
        .exclude(requested_by=permissions.user.pk)
        .exclude(on_behalf_of=permissions.user.pk)
        .exclude(Exists(own))
    )


def waiting_for_others(permissions: Permissions, rows: list[RunRequest]) -> set[int]:
    """Return the keys of the rows whose current stage is for a group that the person is not in."""
    staged = [row for row in rows if any(stage["group"] for stage in row.policy.get("stages", []))]
    if not staged:
        return set()
    groups = {"", *permissions.user.groups.values_list("name", flat=True)}
    prefetch_related_objects(staged, "approvals")
    return {row.pk for row in staged if group_of(row) not in groups}


def last_approved(run_request: RunRequest) -> RunRequest | None:
    """Return the last request for the same deployment, by name, whose approvals led to a launch before this one."""
    # By name: a deployment that was deleted and created again is another row.
    deployments = Deployment.objects.filter(
        environment=run_request.environment_id, full_name=run_request.deployment_name
    )
    found = RunRequest.objects.filter(deployment__in=deployments, needs_approval=True, launched_at__isnull=False)
    # What an emergency override launched was not approved.
    found = found.exclude(pk=run_request.pk).exclude(Exists(BreakGlass.objects.filter(run_request=OuterRef("pk"))))
    if run_request.launched_at:
        found = found.filter(launched_at__lt=run_request.launched_at)
    # What was written past the portal is not what anyone approved.
    newest = found.order_by("-launched_at").prefetch_related("approvals")[:COMPARED]
    return next((each for each in newest if is_signed(each)), None)


def is_signed(run_request: RunRequest) -> bool:
    """Return whether the portal signed the request and its approvals."""
    return signatures.is_signed(run_request) and all(map(signatures.is_signed, changes.approvers_of(run_request)))


def group_of(run_request: RunRequest) -> str:
    """Return the group of the current stage; empty when anyone who can approve may."""
    return next((step.group for step in changes.steps(run_request) if not step.is_done), "")


def values_of(run_request: RunRequest) -> dict[str, Any]:
    """Return the parameters; without the secret ones when they cannot be decrypted."""
    # One lost key must not break the inbox; approving such a request is refused later.
    try:
        return requests.values_of(run_request)
    except encryption.DecryptionError:
        return dict(run_request.parameters)
