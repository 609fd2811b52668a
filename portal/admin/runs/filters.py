"""Filters of the lists of runs and requests; their choices name only what the user can see."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from portal import inbox
from portal.auth.request_user import permissions_of
from portal.lists.filters import MOST_CHOICES, ChoiceFilter, Choices, ChoicesFilter, DaysFilter, GivenFilter, TextFilter
from portal.ui.text import number
from runs import list_filters, listings
from runs.models import Run, RunRequest, Stall
from runs.models.run import STATES


class DeploymentFilter(TextFilter):
    """A deployment by its full name; a part of one selects all that have it in their names."""

    title = "deployment"
    parameter_name = "deployment"
    placeholder = "Any or part of a name"
    column = "deployment_name"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        names = (
            permissions_of(request).deployments().order_by("full_name").values_list("full_name", flat=True).distinct()
        )
        # By name, not by key: deployments that were redeployed, or are in several environments, are one choice.
        return [(name, name) for name in names[:MOST_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if not self.value():
            return queryset
        is_whole = permissions_of(request).deployments().filter(full_name=self.value()).exists()
        exactly = Q(**{self.column: self.value()})
        return queryset.filter(exactly if is_whole else exactly | list_filters.deployments_named(self.value()))


class RequestDeploymentFilter(DeploymentFilter):
    column = "spec__deployment_name"


class StateFilter(ChoicesFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("active", "Active"), *((key, label) for key, (label, _) in STATES.items()), ("deleted", "Deleted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(list_filters.in_run_states(self.values)) if self.values else queryset


class StalledFilter(ChoicesFilter):
    is_rare = True
    title = "stalled"
    parameter_name = "stalled"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("any", "Stalled"), *((str(value), str(label)) for value, label in Stall.choices)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(list_filters.stalled(self.values)) if self.values else queryset


class TagFilter(TextFilter):
    is_rare = True
    title = "tag"
    parameter_name = "tag"
    column = "tags"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{f"{self.column}__contains": [self.value()]}) if self.value() else queryset


class RequestTagFilter(TagFilter):
    column = "spec__tags"


class ParameterFilter(TextFilter):
    """`name=value`, on the runs of which the reader can view the parameters."""

    is_rare = True
    title = "parameter"
    parameter_name = "parameter"
    placeholder = "name=value"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Run]) -> QuerySet[Run]:
        if not self.value():
            return queryset
        return queryset.filter(listings.RUNS.selected("parameter", self.value(), permissions_of(request)))


class RequesterFilter(TextFilter):
    """The user name of the person who requested the run."""

    is_rare = True
    title = "requested by"
    parameter_name = "requester"
    placeholder = "User name"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(run_request__change__requested_by_name=self.value()) if self.value() else queryset


class OriginFilter(ChoiceFilter):
    is_rare = True
    title = "started by"
    parameter_name = "origin"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [
            ("portal", "Portal"),
            ("schedule", "Schedule"),
            ("outside", "Prefect (external)"),
            ("subflow", "Part of a run"),
        ]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # An origin that does not exist is ignored, as everywhere in Django's lists.
        return queryset.filter(list_filters.ORIGINS.get(self.value() or "", Q()))


class CreatedFilter(DaysFilter):
    title = "created"
    parameter_name = "sort_at"


class ChangeFilter(GivenFilter):
    """`change=17`: the runs or requests of one change request."""

    title, parameter_name = "change request", "change"

    def queryset(self, request: HttpRequest, queryset: QuerySet[RunRequest]) -> QuerySet[RunRequest]:
        return queryset.filter(change=number(self.value(), otherwise=0)) if self.value() else queryset


class RequestStateFilter(ChoicesFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(str(value), str(label)) for value, label in RunRequest.State.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(list_filters.in_request_states(self.values)) if self.values else queryset


class ConcernFilter(ChoiceFilter):
    title = "requests"
    parameter_name = "whose"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("mine", "Requested by me"), ("to-answer", "Needs my approval")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        if self.value() == "mine":
            return queryset.filter(change__requested_by=request.user.pk)
        # The same rows as the number in the menu.
        if self.value() == "to-answer":
            return queryset.filter(change__in=inbox.waiting_for(request))
        return queryset
