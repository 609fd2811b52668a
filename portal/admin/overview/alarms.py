"""Alarms: overrides that need a review, changes of rules that need another administrator, paused schedules."""

from __future__ import annotations

from django.db.models import Exists, OuterRef, Prefetch
from django.http import HttpRequest
from django.utils import timezone

from portal import inbox
from portal.auth.request_user import actor_of
from runs.access.decisions import Permissions
from runs.automation import schedule_listings
from runs.governance import rule_changes
from runs.models import BreakGlass, ChangeRequest, RunRequest, RunSpec, Schedule, Verb

FEW = 8


def rules_waiting(request: HttpRequest) -> list[ChangeRequest]:
    """Return the changes of rules that wait for another administrator, for administrators and auditors.

    Those that the reader can approve are in the panel of pending approvals.
    """
    by = actor_of(request)
    if not rule_changes.oversees(by):
        return []
    visible = rule_changes.visible_to(by)
    waiting = ChangeRequest.objects.filter(visible, state=ChangeRequest.State.WAITING, expires_at__gt=timezone.now())
    waiting = waiting.exclude(pk__in=[change.pk for change in inbox.waiting_rules(request)])
    return list(waiting.select_related("rule_change").order_by("requested_at", "pk")[:FEW])


def paused_schedules(permissions: Permissions) -> list[Schedule]:
    """Return the schedules that the portal paused because their runs would be refused, the last ones first."""
    paused = (
        schedule_listings.visible_to(permissions).filter(state=Schedule.State.PAUSED).exclude(code=Schedule.BY_PERSON)
    )
    return list(paused.order_by("-changed_at", "pk")[:FEW])


def to_review(request: HttpRequest, permissions: Permissions) -> list[BreakGlass]:
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
        BreakGlass.objects.filter(Exists(runs), ~Exists(others))
        .filter(reviewed_at=None)
        .exclude(by=me)
        .exclude(change__requested_by=me)
        .exclude(change__on_behalf_of=me)
    )
    # Of several runs the page of the first says what was overridden.
    shown = found.select_related("change").prefetch_related(
        Prefetch("change__specs", RunSpec.objects.only("change", "position", "deployment_name").order_by("position")),
        Prefetch("change__run_requests", RunRequest.objects.only("change").order_by("pk")),
    )
    return list(shown[:FEW])
