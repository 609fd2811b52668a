"""The filters of the run report that the list of runs does not have."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest

from portal.lists.filters import ChoiceFilter, Choices, TextFilter, text_of
from runs.models import Approval, BreakGlass

# How a run leads to the change request that it was approved with.
TO_CHANGE = ("run_request__change", "schedule__change")


def approved(**conditions: Any) -> Q:
    """Return the condition for runs whose change request has an approval like that."""
    found = Q()
    for path in TO_CHANGE:
        found |= Q(Exists(Approval.objects.filter(approved=True, change=OuterRef(path), **conditions)))
    return found


def overridden(**conditions: Any) -> Q:
    """Return the condition for runs that were launched by an emergency override like that."""
    return Q(Exists(BreakGlass.objects.filter(change=OuterRef("run_request__change"), **conditions)))


class ApprovalFilter(ChoiceFilter):
    title, parameter_name = "approval", "approval"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("approved", "Approved"), ("override", "Emergency override"), ("none", "No approval")]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        kinds = {"approved": approved(), "override": overridden(), "none": ~approved() & ~overridden()}
        return kinds.get(values[-1], Q())


class ApproverFilter(TextFilter):
    """The user name of someone who approved the run, or launched it by an emergency override."""

    title, parameter_name, is_rare = "approved by", "approver", True
    placeholder = "User name"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        name = text_of(values)
        return approved(by_name=name) | overridden(by_name=name)
