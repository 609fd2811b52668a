"""Alarms: overrides that need a review, changes of rules that need another administrator, paused schedules."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import Exists, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest

from flows.models import Environment
from portal import inbox
from portal.auth.request_user import actor_of
from runs.access.decisions import Permissions
from runs.automation import schedule_listings
from runs.governance import rule_changes
from runs.models import BreakGlass, ChangeRequest, RunRequest, RunSpec, Schedule, Verb

FEW = 8
# Paused by the portal, or changed in Prefect.
IS_STOPPED = (Q(state=Schedule.State.PAUSED) & ~Q(code=Schedule.BY_PERSON)) | Q(
    state__in=[Schedule.State.ACTIVE, Schedule.State.PAUSED], drifted_at__isnull=False
)


def rules_waiting(request: HttpRequest) -> list[ChangeRequest]:
    """Return the changes of rules that wait for another administrator, for administrators and auditors.

    Those that the reader can approve are in the panel of pending approvals.
    """
    by = actor_of(request)
    if not rule_changes.oversees(by):
        return []
    own = {change.pk for change in inbox.waiting_rules(request)}
    return [change for change in inbox.overseen_rules(request) if change.pk not in own][:FEW]


@dataclass(frozen=True, slots=True)
class Override:
    """An emergency override, what it was for, and the key of the run request whose page says so."""

    row: BreakGlass
    title: str
    request_key: int


def paused_schedules(permissions: Permissions) -> list[Schedule]:
    """Return the schedules that the portal paused, and those that were changed in Prefect, the last ones first."""
    paused = schedule_listings.visible_to(permissions).filter(IS_STOPPED)
    return list(paused.order_by("-changed_at", "pk")[:FEW])


def stopped_schedules() -> QuerySet[Schedule]:
    """Return such schedules, visible or not."""
    return Schedule.objects.filter(IS_STOPPED)


def count_unassigned(overseen: Iterable[Environment]) -> int:
    """Return how many deployments an administrator has to assign, of the servers of these environments."""
    return sum({each.server_id: each.unassigned for each in overseen}.values())  # type: ignore[attr-defined]  # annotated


def count_mute_approvers(environments: Iterable[Environment]) -> int:
    """Return how many approvers have no email address; the number comes with an administrator's environments."""
    return max((each.mute_approvers for each in environments), default=0)  # type: ignore[attr-defined]  # annotated


def to_review(request: HttpRequest, permissions: Permissions) -> list[Override]:
    """Return emergency overrides that the reader may review."""
    if not permissions.can_any(Verb.APPROVE):
        return []
    places = {"deployment": "deployment__", "base": ""}
    me = request.user.pk
    # A review must be independent: neither by who overrode, nor by who requested the run, nor on whose behalf.
    runs = RunRequest.objects.filter(change=OuterRef("change"))
    allowed = permissions.q(Verb.SEE, **places) & permissions.q(Verb.APPROVE, **places)
    others = runs.filter(~Exists(RunRequest.objects.filter(allowed, pk=OuterRef("pk"))))
    found = (
        unreviewed()
        .filter(Exists(runs), ~Exists(others))
        .exclude(by=me)
        .exclude(change__requested_by=me)
        .exclude(change__on_behalf_of=me)
    )
    # Of several runs the page of the first says what was overridden.
    specs = RunSpec.objects.filter(change=OuterRef("change")).order_by("position")
    shown = found.select_related("change").annotate(
        names=ArraySubquery(specs.values("deployment_name")),
        first_request=Subquery(runs.order_by("pk").values("pk")[:1]),
    )
    return [Override(row, row.change.title_for(row.names), row.first_request) for row in shown[:FEW]]


def unreviewed() -> QuerySet[BreakGlass]:
    """Return the emergency overrides that nobody has reviewed, visible or not."""
    return BreakGlass.objects.filter(reviewed_at=None)
