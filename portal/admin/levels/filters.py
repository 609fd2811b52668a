"""Filters of the list of service levels."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest

from portal.auth.request_user import permissions_of
from portal.lists.filters import ChoiceFilter, Choices, ChoicesFilter
from runs import levels
from runs.models import ServiceLevel


class KindFilter(ChoicesFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(str(value), str(label)) for value, label in ServiceLevel.Kind.choices]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(kind__in=[value for value in values if value in ServiceLevel.Kind.values])


class LevelStateFilter(ChoiceFilter):
    """Breached for a deployment that the reader sees, kept, or removed."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("breached", "Breached"), ("active", "Active"), ("removed", "Removed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "breached":
            open_ones = levels.open_breaches(permissions_of(request)).filter(level=OuterRef("pk"))
            return queryset.filter(Exists(open_ones))
        if self.value() in ("active", "removed"):
            return queryset.filter(removed_at__isnull=self.value() == "active")
        return queryset
