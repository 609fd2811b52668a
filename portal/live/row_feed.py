"""The rows of a list as they change: each is read and rendered once, for all who have the list open.

Whether a reader sees a row is decided for each of them from their kept permissions. Whether it matches the filters of
an open page is asked once for all pages with the same filters.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from asgiref.sync import sync_to_async
from django.contrib import admin
from django.db import connection
from django.http import QueryDict

from portal.lists.live_filters import condition_of
from portal.lists.rendered_rows import rendered
from runs.access.decisions import Target
from runs.models import Run

# Rows and filters that are kept at a time; above, all are read again.
MOST_ROWS = 2000
MOST_FILTERS = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is now."""

    pk: int
    target: Target
    html: str


class RowFeed:
    """Runs by key. One per event loop, as the broadcaster, which tells it what changed."""

    def __init__(self) -> None:
        self.rows: dict[int, Row | None] = {}
        self.matching: dict[str, dict[int, bool]] = {}
        self.forgotten: set[int] = set()
        self.reading = asyncio.Lock()

    def forget(self, pks: Iterable[int]) -> None:
        for pk in pks:
            self.rows.pop(pk, None)
            for known in self.matching.values():
                known.pop(pk, None)
            self.forgotten.add(pk)

    def forget_all(self) -> None:
        self.forget(list(self.rows))
        self.matching.clear()

    async def read(self, pks: Collection[int], query: str) -> list[tuple[Row, bool]]:
        """Return the rows that exist, each with whether it matches the filters of a query string."""
        async with self.reading:
            self.forgotten.clear()
            if len(self.rows) > MOST_ROWS or len(self.matching) > MOST_FILTERS:
                self.rows.clear()
                self.matching.clear()
            known = self.matching.setdefault(query, {}) if query else {}
            unread = [pk for pk in pks if pk not in self.rows]
            unmatched = [pk for pk in pks if query and pk not in known]
            if unread or unmatched:
                rows, matches = await load(unread, unmatched, query)
                self.rows |= dict.fromkeys(unread) | rows
                known |= {pk: pk in matches for pk in unmatched}
            found = [(row, not query or known[pk]) for pk in pks if (row := self.rows[pk])]
            # What changed while it was read is sent, because its change comes after it, and not kept.
            for pk in self.forgotten:
                self.rows.pop(pk, None)
                known.pop(pk, None)
            return found


@sync_to_async
def load(unread: Collection[int], unmatched: Collection[int], query: str) -> tuple[dict[int, Row], set[int]]:
    """Return the rows by key, and the keys of those that match the filters."""
    try:
        model_admin = admin.site.get_model_admin(Run)
        runs = list(Run.objects.filter(pk__in=unread).select_related(*RELATED)) if unread else []
        html = rendered(model_admin, runs)
        rows = {run.pk: Row(run.pk, Target.of_run(run), html[run.pk]) for run in runs}
        matches: set[int] = set()
        if unmatched:
            chosen = condition_of(model_admin, QueryDict(query))
            matches = set(Run.objects.filter(chosen, pk__in=unmatched).values_list("pk", flat=True))
        return rows, matches
    finally:
        # The stream lasts for hours and must not hold one of the pool's few connections.
        if not connection.in_atomic_block:
            connection.close()


# What a row shows of other tables.
RELATED = ("environment", "deployment", "access_deployment__environment", "parent", "run_request__change")
