"""The change requests that need a person's approval."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, QuerySet, prefetch_related_objects
from django.utils import timezone

from flows import encryption
from flows.models import Deployment
from runs import changes, requests
from runs.access.decisions import Permissions
from runs.audit import signatures
from runs.models import Approval, BreakGlass, ChangeRequest, RunRequest, RunSpec, ServiceAccount, Verb

# Launched requests among which the last one with signed approvals is looked for.
COMPARED = 5


def waiting_for(permissions: Permissions) -> list[int]:
    """Return the primary keys of the change requests for runs that the person can approve now."""
    return [change.pk for change in waiting_changes(permissions)]


def waiting_changes(permissions: Permissions) -> list[ChangeRequest]:
    """Return the change requests for runs that the person can approve now, in at most four queries.

    Left out are their own requests and those made on their behalf, those they have already approved, those whose
    current stage is for another group, and those with values that none of their grants covers.
    """
    # Menus and the overview count these on every page: start with what needs no query.
    if not permissions.can_any(Verb.APPROVE):
        return []
    # Values are decrypted and checked one by one, so only for people whose grant has a condition.
    if permissions.has_condition(Verb.APPROVE):
        rows = open_to(permissions).prefetch_related("specs__deployment__environment")
        approvable = [row for row in rows if all(may_approve(permissions, spec) for spec in row.specs.all())]
    else:
        approvable = list(open_to(permissions).only("kind", "digest", "policy", "needs_approval", "expires_at"))
    elsewhere = waiting_for_others(permissions, approvable)
    return [row for row in approvable if row.pk not in elsewhere]


def may_approve(permissions: Permissions, spec: RunSpec) -> bool:
    return permissions.decide(Verb.APPROVE, spec.deployment, values_of(spec)).allowed


def open_to(permissions: Permissions) -> QuerySet[ChangeRequest]:
    """Return the candidates as far as SQL can decide: stages and conditions on values are checked in Python."""
    own = Approval.objects.filter(
        change=OuterRef("pk"), by=permissions.user.pk, approved=True, digest=OuterRef("digest")
    )
    # All of its specs: who cannot approve one of them cannot approve the change request.
    places = {"deployment": "deployment__", "base": "deployment__"}
    specs = RunSpec.objects.filter(change=OuterRef("pk"))
    allowed = permissions.q(Verb.SEE, **places) & permissions.q(Verb.APPROVE, **places)
    others = specs.filter(~Exists(RunSpec.objects.filter(allowed, pk=OuterRef("pk"))))
    return (
        ChangeRequest.objects.filter(state=ChangeRequest.State.WAITING, expires_at__gt=timezone.now())
        .filter(Exists(specs), ~Exists(others))
        .exclude(requested_by=permissions.user.pk)
        .exclude(on_behalf_of=permissions.user.pk)
        .exclude(requested_by__in=ServiceAccount.objects.filter(owner=permissions.user.pk).values("user"))
        .exclude(Exists(own))
    )


def waiting_for_others(permissions: Permissions, rows: list[ChangeRequest]) -> set[int]:
    """Return the keys of the rows whose current stage is for a group that the person is not in."""
    staged = [row for row in rows if any(stage["group"] for stage in row.policy.get("stages", []))]
    if not staged:
        return set()
    groups = {"", *permissions.user.groups.values_list("name", flat=True)}
    prefetch_related_objects(staged, "approvals")
    return {row.pk for row in staged if group_of(row) not in groups}


def last_approved(run_request: RunRequest) -> RunRequest | None:
    """Return the last request for the same deployment, by name, whose approvals led to a launch before this one."""
    # By name: a deployment that was deleted and created again is another row. As an array, which is read first: with a
    # subquery Postgres joins all requests that were ever launched before it looks at the deployment.
    namesakes = Deployment.objects.filter(
        environment=run_request.environment_id, full_name=run_request.spec.deployment_name
    )
    keys = ArraySubquery(namesakes.order_by().values("pk"))
    found = approved_and_launched().filter(deployment__pk__any_of=keys).select_related("change", "spec")
    found = found.exclude(pk=run_request.pk)
    if run_request.launched_at:
        found = found.filter(launched_at__lt=run_request.launched_at)
    # What was written past the portal is not what anyone approved.
    newest = found.order_by("-launched_at").prefetch_related("change__approvals")[:COMPARED]
    return next((each for each in newest if is_signed(each)), None)


def approved_and_launched() -> QuerySet[RunRequest]:
    """Return the requests that were launched by approvals; whether the portal signed them is for `is_signed`."""
    found = RunRequest.objects.filter(change__needs_approval=True, launched_at__isnull=False)
    # What an emergency override launched was not approved.
    return found.exclude(Exists(BreakGlass.objects.filter(change=OuterRef("change"))))


def last_approved_of_each() -> Callable[[RunRequest], RunRequest | None]:
    """Return `last_approved` for many requests that were not launched: it asks once for each deployment."""
    found: dict[tuple[int, str], RunRequest | None] = {}

    def last(run_request: RunRequest) -> RunRequest | None:
        key = run_request.environment_id, run_request.spec.deployment_name
        if key not in found:
            found[key] = last_approved(run_request)
        return found[key]

    return last


def is_signed(run_request: RunRequest) -> bool:
    """Return whether the portal signed the request, all that belongs to it, and its approvals."""
    change = run_request.change
    if run_request.spec.change_id == change.pk:
        # The same row: not read once more.
        run_request.spec.change = change
    parts = all(signatures.is_signed(row) for row in (change, run_request.spec, run_request))
    return parts and all(signatures.is_signed(approval) for approval in changes.approvers_of(change))


def group_of(change: ChangeRequest) -> str:
    """Return the group of the current stage; empty when anyone who can approve may."""
    return next((step.group for step in changes.steps(change) if not step.is_done), "")


def values_of(spec: RunSpec) -> dict[str, Any]:
    """Return the parameters; without the secret ones when they cannot be decrypted."""
    # One lost key must not break the inbox; approving such a request is refused later.
    try:
        return requests.spec_values(spec)
    except encryption.DecryptionError:
        return dict(spec.parameters)
