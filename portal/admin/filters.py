"""The filters that every list shares; none of them offers what the reader may not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import DropdownFilter

from portal.auth.request_user import permissions_of

# A list to choose from must stay short enough to be read, and cheap enough to be made.
MOST_CHOICES = 300
Choices = Sequence[tuple[str, str]]


class OfferedFilter(DropdownFilter):
    """An invented value, or one that only others may see, filters nothing: it must not tell whether it exists."""

    def value(self) -> str | None:
        asked = super().value()
        return asked if any(asked == offered for offered, _ in self.lookup_choices) else None


class EnvironmentFilter(DropdownFilter):
    title = "environment"
    parameter_name = "environment"

    def lookups(self, request: HttpRequest, model_admin: ModelAdmin[Any]) -> Choices:
        return [(slug, slug) for slug in permissions_of(request).environments().values_list("slug", flat=True)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(environment__slug=self.value()) if self.value() else queryset
