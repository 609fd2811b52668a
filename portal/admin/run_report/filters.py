"""The filters of the run report that the list of runs does not have."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest

from portal.lists.filters import ChoiceFilter, Choices, TextFilter, text_of
from runs.models import Approval, BreakGlass, Run, RunRequest


def approved(**conditions: Any) -> Q:
    """Return the condition for runs whose change request has an approval like that."""
    changes = Approval.objects.filter(approved=True, **conditions).order_by().values("change")
    # By keys: a few of a million runs are found at once then.
    requested = RunRequest.objects.filter(change__in=changes, run__isnull=False).order_by().values("run")
    scheduled = Run.objects.filter(schedule__change__in=changes).order_by().values("pk")
    return Q(pk__in=requested.union(scheduled))


def overridden(**conditions: Any) -> Q:
    """Return the condition for runs that were launched by an emergency override like that."""
    changes = BreakGlass.objects.filter(**conditions).order_by().values("change")
    return Q(pk__in=RunRequest.objects.filter(change__in=changes, run__isnull=False).order_by().values("run"))


def unapproved() -> Q:
    """Return the condition for runs with neither; not the opposite of the two, which would read all approvals first."""
    approvals = [
        Exists(Approval.objects.filter(approved=True, change=OuterRef(path)))
        for path in ("run_request__change", "schedule__change")
    ]
    override = Exists(BreakGlass.objects.filter(change=OuterRef("run_request__change")))
    return ~Q(approvals[0]) & ~Q(approvals[1]) & ~Q(override)


class ApprovalFilter(ChoiceFilter):
    title, parameter_name = "approval", "approval"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("approved", "Approved"), ("override", "Emergency override"), ("none", "No approval")]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        kinds = {"approved": approved(), "override": overridden(), "none": unapproved()}
        return kinds.get(values[-1], Q())


class ApproverFilter(TextFilter):
    """The user name of someone who approved the run, or launched it by an emergency override."""

    title, parameter_name, is_rare = "approved by", "approver", True
    placeholder = "User name"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        name = text_of(values)
        return approved(by_name=name) | overridden(by_name=name)
