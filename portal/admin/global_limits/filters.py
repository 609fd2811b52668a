"""Filters of the list of concurrency limits."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from flows.models.global_limit import TAG
from portal.lists.filters import ChoiceFilter, Choices


class ActiveFilter(ChoiceFilter):
    title = "state"
    parameter_name = "active"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("yes", "Active"), ("no", "Inactive")]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        wanted = {"yes": True, "no": False}.get(values[-1])
        return Q() if wanted is None else Q(is_active=wanted)


class KindFilter(ChoiceFilter):
    title = "kind"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("global", "Global"), ("tag", "Of a tag")]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        of_tag = Q(name__startswith=TAG)
        return {"tag": of_tag, "global": ~of_tag}.get(values[-1], Q())
