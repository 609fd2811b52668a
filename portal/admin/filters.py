"""The filters that lists share; none of them offers a value the reader may not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from portal.auth.request_user import permissions_of

# A dropdown must stay short enough to read, and cheap enough to build for each page.
MOST_CHOICES = 300
Choices = Sequence[tuple[str, str]]


class OfferedFilter(DropdownFilter):
    """A filter that ignores values it does not offer."""

    def value(self) -> str | None:
        # An invented value and a hidden one must give the same list, or the filter tells which of them exists.
        requested = super().value()
        return requested if any(requested == offered for offered, _ in self.lookup_choices) else None


class EnvironmentFilter(DropdownFilter):
    title = "environment"
    parameter_name = "environment"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(slug, slug) for slug in permissions_of(request).environments().values_list("slug", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(environment__slug=self.value()) if self.value() else queryset
