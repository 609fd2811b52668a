"""Filters of the lists of runs and requests; their choices name only what the user can see."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Any, ClassVar

from django.contrib.admin import ModelAdmin
from django.db.models import Field, GeneratedField, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from unfold.contrib.filters.admin import CheckboxFilter, DropdownFilter, RadioFilter, RangeDateFilter, TextFilter

from portal import inbox
from portal.admin.filters import MOST_CHOICES, Choices
from portal.auth.request_user import permissions_of
from runs.models import RunRequest, Stall
from runs.models.run import ACTIVE, STATES


class DeploymentFilter(DropdownFilter):
    title = "deployment"
    parameter_name = "deployment"
    column = "deployment_name"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        names = (
            permissions_of(request).deployments().order_by("full_name").values_list("full_name", flat=True).distinct()
        )
        # By name, not by key: deployments that were redeployed, or are in several environments, are one choice.
        return [(name, name) for name in names[:MOST_CHOICES]]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(**{self.column: self.value()}) if self.value() else queryset


class RequestDeploymentFilter(DeploymentFilter):
    column = "spec__deployment_name"


class StateFilter(CheckboxFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("active", "Active"), *((key, label) for key, (label, _) in STATES.items()), ("deleted", "Deleted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = set(self.value() or [])
        if not wanted:
            return queryset
        states = wanted | (ACTIVE if "active" in wanted else frozenset())
        # A run that was deleted before it ended has no state that still counts.
        lost = Q(state_type__in=ACTIVE, deleted_upstream_at__isnull=False)
        found = Q(state_type__in=states) & ~lost
        return queryset.filter(found | lost if "deleted" in wanted else found)


class StalledFilter(CheckboxFilter):
    title = "stalled"
    parameter_name = "stalled"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [("any", "Stalled"), *((str(value), str(label)) for value, label in Stall.choices)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        wanted = self.value() or []
        if "any" in wanted:
            return queryset.exclude(stalled_kind="")
        return queryset.filter(stalled_kind__in=[each for each in wanted if each]) if wanted else queryset


class TagFilter(TextFilter):
    title = "tag"
    parameter_name = "tag"
    column = "tags"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        # Postgres raises an error for NUL in text; no tag contains one.
        tag = (self.value() or "").replace("\0", "").strip()
        return queryset.filter(**{f"{self.column}__contains": [tag]}) if tag else queryset


class RequestTagFilter(TagFilter):
    column = "spec__tags"


class OriginFilter(RadioFilter):
    title = "trigger"
    parameter_name = "origin"
    ORIGINS: ClassVar[dict[str, tuple[str, Q]]] = {
        "portal": ("Portal", Q(created_by_portal=True)),
        "schedule": ("Schedule", Q(created_by_portal=False, is_auto_scheduled=True)),
        "outside": ("Prefect (external)", Q(created_by_portal=False, is_auto_scheduled=False, parent=None)),
        "subflow": ("Part of a run", Q(created_by_portal=False, is_auto_scheduled=False, parent__isnull=False)),
    }

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(key, label) for key, (label, _) in self.ORIGINS.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(self.ORIGINS[self.value()][1]) if self.value() in self.ORIGINS else queryset


class DayFilter(RangeDateFilter):
    """First and last day, both included, in the portal's time zone."""

    def __init__(self, field: Field[Any, Any], *args: Any, **options: Any) -> None:
        # The theme accepts only date fields; a generated column has one inside.
        super().__init__(field.output_field if isinstance(field, GeneratedField) else field, *args, **options)
        self.title = "date"

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        first, last = self.day("from"), self.day("to")
        if first:
            queryset = queryset.filter(**{f"{self.field_path}__gte": midnight(first)})
        if last:
            queryset = queryset.filter(**{f"{self.field_path}__lt": midnight(last + timedelta(days=1))})
        return queryset

    def day(self, end: str) -> date | None:
        # Links have ISO dates; the calendar of the theme fills in those of the language, en-gb.
        typed = str(self.used_parameters.get(f"{self.parameter_name}_{end}") or "")
        try:
            return parse_date(typed) or datetime.strptime(typed, "%d/%m/%Y").date()  # noqa: DTZ007  (a day, no time)
        except ValueError:
            return None


def midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))


class RequestStateFilter(CheckboxFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(str(value), str(label)) for value, label in RunRequest.State.choices]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(state__in=self.value()) if self.value() else queryset


class ConcernFilter(RadioFilter):
    title = "requester"
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
