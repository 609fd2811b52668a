"""Filters of the list of differences between environments."""

from __future__ import annotations

from itertools import combinations
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from portal.auth.request_user import permissions_of
from portal.lists.filters import ChoiceFilter, Choices, ChoicesFilter
from runs.drift.drift_listings import between
from runs.models import Drift


class BetweenFilter(ChoiceFilter):
    title = "environments"
    parameter_name = "between"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        slugs = permissions_of(request).environments().order_by("position", "pk").values_list("slug", flat=True)
        return [(f"{left},{right}", f"{left} and {right}") for left, right in combinations(slugs, 2)]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return between(values[-1])


class DifferenceFilter(ChoicesFilter):
    title = "what differs"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(str(value), str(label)) for value, label in Drift.Kind.choices]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(kinds__overlap=values)
