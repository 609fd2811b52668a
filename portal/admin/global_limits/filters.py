"""Filters of the list of concurrency limits."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from flows.models.global_limit import TAG
from portal.lists.filters import ChoiceFilter, Choices, FlagFilter


class ActiveFilter(FlagFilter):
    title = "state"
    parameter_name = "active"
    column = "is_active"
    labels = ("Active", "Inactive")


class KindFilter(ChoiceFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("global", "Global"), ("tag", "Of a tag")]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        of_tag = Q(name__startswith=TAG)
        return {"tag": of_tag, "global": ~of_tag}.get(values[-1], Q())
