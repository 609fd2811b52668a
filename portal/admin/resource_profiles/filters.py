"""Filters of the list of resource profiles."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from portal.lists.filters import ChoiceFilter, Choices


class RemovedFilter(ChoiceFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("active", "Active"), ("removed", "Removed")]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(removed_at__isnull=values[-1] == "active") if values[-1] in ("active", "removed") else Q()
