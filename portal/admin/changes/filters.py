"""Filters of the list of change requests."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from portal import inbox
from portal.lists.filters import ChoiceFilter, Choices
from runs.phases import PHASES


class PhaseFilter(ChoiceFilter):
    """The state that the list displays; of a backfill it says how far it is."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(key, label) for key, (label, _) in PHASES.items()]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(phase__in=values)


class ConcernFilter(ChoiceFilter):
    title = "requests"
    parameter_name = "whose"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("mine", "Requested by me"), ("to-answer", "Needs my approval")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "mine":
            return queryset.filter(requested_by=request.user.pk)
        # The same rows as the number in the menu.
        if self.value() == "to-answer":
            waiting = [*inbox.waiting_changes(request), *inbox.waiting_rules(request)]
            return queryset.filter(pk__in=[change.pk for change in waiting])
        return queryset
