"""Filters of the list of bypasses."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from portal.lists.filters import ChoiceFilter, Choices
from runs.bypass_listings import in_state
from runs.models import Bypass


class KindFilter(ChoiceFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(str(value), str(label)) for value, label in Bypass.Kind.choices]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(kind=values[-1])


class OpenFilter(ChoiceFilter):
    title = "state"
    parameter_name = "open"
    every = "Still there"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("gone", "Gone"), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # Without a choice, what is no longer there is hidden.
        return queryset.filter(in_state(self.value() or "open"))
