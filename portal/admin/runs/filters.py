"""Filters of the lists of runs and requests; their choices name only what the user can see."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from flows.wording import deployment_name
from portal import inbox
from portal.auth.request_user import permissions_of
from portal.lists.filters import (
    MOST_CHOICES,
    ChoiceFilter,
    Choices,
    ChoicesFilter,
    DaysFilter,
    GivenFilter,
    OfferedFilter,
    TextFilter,
    text_of,
)
from portal.ui.text import number
from runs import list_filters, listings
from runs.models import Run, RunRequest, Stall, Verb
from runs.models.run import STATES

# As many as one group of failures can have.
MOST_PICKED = 200


class DeploymentFilter(TextFilter):
    """A deployment by its full name, which has a slash in it; a part of a name selects all that have it."""

    title = "deployment"
    parameter_name = "deployment"
    placeholder = "Any or part of a name"
    column = "deployment_name"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        names = (
            permissions_of(request).deployments().order_by("full_name").values_list("full_name", flat=True).distinct()
        )
        # By name, not by key: deployments that were redeployed, or are in several environments, are one choice.
        return [(name, deployment_name(name)) for name in names[:MOST_CHOICES]]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        name = text_of(values)
        is_whole = "/" in name
        return Q(**{cls.column: name}) if is_whole else list_filters.deployments_named(name)


class RequestDeploymentFilter(DeploymentFilter):
    column = "spec__deployment_name"


class StateFilter(ChoicesFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("active", "Active"), *((key, label) for key, (label, _) in STATES.items()), ("deleted", "Deleted")]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return list_filters.in_run_states(values)


class ParentFilter(GivenFilter, OfferedFilter):
    """The subflow runs of one run: offered only where an address names it, and the user can see it."""

    title = "part of"
    parameter_name = "parent"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        pk = number(request.GET.get(self.parameter_name))
        visible = permissions_of(request).q(Verb.SEE, deployment="access_deployment__")
        parent = Run.objects.filter(visible, pk=pk).first() if pk is not None else None
        return [(str(parent.pk), str(parent))] if parent else []

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(parent=self.value()) if self.value() else queryset


class StalledFilter(ChoicesFilter):
    is_rare = True
    title = "stalled"
    parameter_name = "stalled"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("any", "Stalled"), *((str(value), str(label)) for value, label in Stall.choices)]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return list_filters.stalled(values)


class TagFilter(TextFilter):
    is_rare = True
    title = "tag"
    parameter_name = "tag"
    column = "tags"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(**{f"{cls.column}__contains": [text_of(values)]})


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

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(run_request__change__requested_by_name=text_of(values))


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

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        # An origin that does not exist is ignored, as everywhere in Django's lists.
        return list_filters.ORIGINS.get(values[-1], Q())


class CreatedFilter(DaysFilter):
    title = "created"
    parameter_name = "sort_at"


class EndedFilter(DaysFilter):
    is_rare = True
    title = "ended"
    parameter_name = "ended"
    column = "ended_at"


class StartsFilter(DaysFilter):
    is_rare = True
    title = "scheduled"
    parameter_name = "starts"
    column = "expected_start_at"


class OwnFilter(GivenFilter):
    """`whose=mine`: the runs that the reader requested."""

    title, parameter_name = "requested by", "whose"

    def label_of(self, given: str) -> str:
        return "me"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return (
            queryset.filter(run_request__change__requested_by=request.user.pk) if self.value() == "mine" else queryset
        )


class PoolFilter(GivenFilter):
    """`pool=gpu`: the runs in one work pool."""

    title, parameter_name = "work pool", "pool"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(work_pool_name=text_of(values))


class QueueFilter(GivenFilter):
    """`queue=default`: the runs in the work queues of this name."""

    title, parameter_name = "work queue", "queue"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(work_queue_name=text_of(values))


class PickedFilter(GivenFilter):
    """`runs=1,2`: runs by their keys, such as those that failed for one reason.

    Not by the reason itself: readers without permission for messages could guess it.
    """

    title, parameter_name = "runs", "runs"

    def label_of(self, given: str) -> str:
        return f"{len(keys_of(given))} selected"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(pk__in=keys_of(values[-1]))


class FailureFilter(GivenFilter):
    """`failure=7`: the runs of one failure group."""

    title, parameter_name = "failure", "failure"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(failure__group=number(values[-1], otherwise=0))


def keys_of(text: str) -> list[int]:
    """Return the keys in a text, at most `MOST_PICKED`."""
    keys = [number(each.strip()) for each in text.split(",")[:MOST_PICKED]]
    return [key for key in keys if key is not None]


class ChangeFilter(GivenFilter):
    """`change=17`: the requests of one change request."""

    title, parameter_name = "change request", "change"

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return Q(change=number(values[-1], otherwise=0))


class RequestStateFilter(ChoicesFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(str(value), str(label)) for value, label in RunRequest.State.choices]

    @classmethod
    def selects(cls, values: list[str]) -> Q:
        return list_filters.in_request_states(values)


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
