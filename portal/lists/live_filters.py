"""The filters of an open page as a condition that does not depend on its reader."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.main import SEARCH_VAR
from django.db.models import Q
from django.http import QueryDict

from portal.lists.filters import Personal, RowFilter

# What is about the page and not about its rows.
ABOUT_THE_PAGE = frozenset({"columns", "rows"})


def condition_of(model_admin: ModelAdmin[Any], query: QueryDict) -> Q:
    """Return the condition for the rows that a query string selects; raises `Personal`."""
    found = Q()
    left = {name for name, values in query.lists() if any(values)} - ABOUT_THE_PAGE
    for each in model_admin.list_filter:
        if isinstance(each, type) and issubclass(each, RowFilter):
            names = each.parameters()
            if left & names:
                found &= each.condition(query)
            left -= names
    if SEARCH_VAR in left:
        found &= model_admin.search_condition(query[SEARCH_VAR])  # type: ignore[attr-defined]  # of lists with live rows
        left.discard(SEARCH_VAR)
    # Another order, or a filter that only Django knows.
    if left:
        raise Personal
    return found
