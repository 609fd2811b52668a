"""The search box of lists, bounded as the search of `runs.list_filters`."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.views.main import SEARCH_VAR, ChangeListSearchForm

from runs import list_filters
from runs.errors import Refused


def check(text: str) -> None:
    """Raise `ValidationError` for a search text that costs too much."""
    try:
        list_filters.require_bounded(text)
    except Refused as refusal:
        raise forms.ValidationError(refusal.message, refusal.code) from refusal


class BoundedSearchForm(ChangeListSearchForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR].validators.append(check)
