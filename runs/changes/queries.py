"""The requests that wait for somebody's answer."""

from __future__ import annotations

from typing import Any

from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects
from django.utils import timezone

from flows import encryption
from runs import changes, requests
from runs.access.decisions import Permissions
from runs.models import Approval, RunRequest, Verb


def waiting_for(permissions: Permissions) -> list[int]:
    """The keys of them; up to four queries, however many there are.

    Not one's own, nor those one asks for, has approved already, whose stage is another group's, or whose values no
    grant of one's own reaches.
    """
    if not permissions.can_any(Verb.APPROVE):
        return []
    is_bound = any(grant.predicate and Verb.APPROVE in grant.verbs for grant in permissions.grants)
    if is_bound:
        rows = open_to(permissions).select_related("deployment__environment")
        in_reach = [row for row in rows if permissions.decide(Verb.APPROVE, row.deployment, values_of(row))]
    else:
        in_reach = list(open_to(permissions).only("digest", "policy", "needs_approval"))
    elsewhere = waiting_for_others(permissions, in_reach)
    return [row.pk for row in in_reach if row.pk not in elsewhere]


def open_to(permissions: Permissions) -> QuerySet[RunRequest]:
    """As far as a query can say."""
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
    """Those of them whose stage is for a group that one is not in."""
    staged = [row for row in rows if any(stage["group"] for stage in row.policy.get("stages", []))]
    if not staged:
        return set()
    groups = {"", *permissions.user.groups.values_list("name", flat=True)}
    prefetch_related_objects(staged, "approvals")
    return {row.pk for row in staged if group_of(row) not in groups}


def group_of(run_request: RunRequest) -> str:
    """Whose answer it waits for now."""
    return next((step.group for step in changes.steps(run_request) if not step.is_done), "")


def values_of(run_request: RunRequest) -> dict[str, Any]:
    """What an answer is about; without the secret ones where their key was lost."""
    try:
        return requests.values_of(run_request)
    except encryption.DecryptionError:
        return dict(run_request.parameters)
