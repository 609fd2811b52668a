"""The filters that lists of several subjects have; none of them offers a value the reader may not see."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from portal.auth.request_user import permissions_of
from portal.lists.filters import ChoiceFilter, Choices, FlagFilter
from runs import list_filters


class EnvironmentFilter(ChoiceFilter):
    title = "environment"
    parameter_name = "environment"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(slug, slug) for slug in permissions_of(request).environments().values_list("slug", flat=True)]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return list_filters.in_environment(values[-1])


class PausedFilter(FlagFilter):
    title = "state"
    parameter_name = "paused"
    column = "is_paused"
    labels = ("Paused", "Not paused")
