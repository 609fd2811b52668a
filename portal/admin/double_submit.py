"""Forms that are sent twice, by a second click or a reload: the page names the newest row that it knew.

Read it for each page, also after a refusal: what is sent again from there is meant.
"""

from __future__ import annotations

from typing import Any

from django.db.models import Max, Model, QuerySet

from portal.ui.text import number


def newest[Row: Model](rows: QuerySet[Row]) -> int:
    """Return the key of the newest row, 0 if there is none: what the page knows when it is opened."""
    found: int | None = rows.aggregate(newest=Max("pk"))["newest"]
    return found or 0


def created_since[Row: Model](rows: QuerySet[Row], known: Any) -> QuerySet[Row]:
    """Return the rows that are newer than the one that the page knew, as its form sends it back."""
    return rows.filter(pk__gt=number(known, otherwise=0))
