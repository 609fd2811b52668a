"""The search box of lists: bounded, because each word costs a scan of every searched column."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.admin.views.main import SEARCH_VAR, ChangeListSearchForm

# A search of 3,000 words took 7 s of a processor; five people could stop the portal with it.
MOST_WORDS = 5
LONGEST = 100


def check(text: str) -> None:
    """Raise `ValidationError` for a search text that costs too much."""
    if len(text) > LONGEST:
        raise forms.ValidationError(
            f"The search text is too long: {len(text):,} characters, at most {LONGEST}.", "search.too_long"
        )
    if len(text.split()) > MOST_WORDS:
        raise forms.ValidationError(f"Search for at most {MOST_WORDS} words.", "search.too_many_words")


class BoundedSearchForm(ChangeListSearchForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields[SEARCH_VAR].validators.append(check)
