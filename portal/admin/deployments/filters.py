"""Filters of the list of deployments; they offer and accept only what the user can see."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import F, Func, Q, QuerySet
from django.http import HttpRequest

from portal.admin.filters import PausedFilter
from portal.auth.request_user import permissions_of
from portal.lists.filters import MOST_CHOICES, ChoiceFilter, Choices, GivenFilter, OfferedFilter, text_of


class TagFilter(OfferedFilter):
    title = "tag"
    parameter_name = "tag"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        # Without `order_by()`, DISTINCT would include the columns of the default ordering.
        tags = permissions_of(request).deployments().filter(deleted_upstream_at=None).order_by()
        names = tags.annotate(tag=Func(F("tags"), function="unnest")).values_list("tag", flat=True).distinct()
        return [(tag, tag) for tag in sorted(names[:MOST_CHOICES])]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(tags__contains=[values[-1]])


class FlowFilter(GivenFilter):
    """`flow=etl`: the deployments, or the runs, of one flow."""

    title, parameter_name = "flow", "flow"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(flow_name=text_of(values))


class PoolFilter(OfferedFilter):
    title = "work pool"
    parameter_name = "pool"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        pools = (
            permissions_of(request)
            .deployments()
            .filter(deleted_upstream_at=None)
            .exclude(work_pool_name="")
            .order_by("work_pool_name")
        )
        return [(name, name) for name in pools.values_list("work_pool_name", flat=True).distinct()[:MOST_CHOICES]]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(work_pool_name=values[-1])


class SchedulesFilter(PausedFilter):
    title = "schedules"


class DeletedFilter(ChoiceFilter):
    title = "status"
    parameter_name = "gone"
    every = "Deployed"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("yes", "Deleted"), ("all", "All")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "all":
            return queryset
        # Without a choice, deleted deployments are hidden.
        return queryset.filter(deleted_upstream_at__isnull=self.value() != "yes")
