"""Filters of the list of work pools."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q
from django.http import HttpRequest

from portal.auth.request_user import actor_of, permissions_of
from portal.lists.filters import MOST_CHOICES, Choices, OfferedFilter
from runs.work_pools import WORK_POOLS


class TypeFilter(OfferedFilter):
    title = "type"
    parameter_name = "type"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        pools = WORK_POOLS.rows(actor_of(request), permissions=permissions_of(request)).order_by("type")
        return [(name, name) for name in pools.values_list("type", flat=True).distinct()[:MOST_CHOICES]]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(type=values[-1])
