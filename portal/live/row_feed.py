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
from portal.lists.reader_cells import ReaderCell
from portal.lists.rendered_rows import rendered
from portal.live.list_rows import LISTS, ListRows
from runs.access.decisions import Permissions, Target

# Rows and filters that are kept at a time; above, all are read again.
MOST_ROWS = 2000
MOST_FILTERS = 200


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it is now."""

    pk: int
    target: Target
    html: str
    # What of it depends on the reader.
    cell: ReaderCell | None = None

    def html_for(self, permissions: Permissions) -> str:
        return self.cell.fill(self.html, permissions) if self.cell else self.html


class RowFeed:
    """The rows of one list by key. One per event loop, as the broadcaster, which tells it what changed."""

    def __init__(self, of: ListRows) -> None:
        self.of = of
        self.rows: dict[int, Row | None] = {}
        self.matching: dict[str, dict[int, bool]] = {}
        # Run -> the rows that show it, which never change.
        self.showing: dict[int, tuple[int, ...]] = {}
        self.forgotten: set[int] = set()
        # Counts the changes of own rows, for what was asked before one and is answered after it.
        self.version = 0
        self.reading = asyncio.Lock()

    def forget_own(self, pks: Collection[int]) -> None:
        """Forget rows that changed, and which runs are shown by none: these may be by now."""
        if pks:
            self.version += 1
            self.showing = {run: rows for run, rows in self.showing.items() if rows}
            self.forget(pks)

    def forget(self, pks: Iterable[int]) -> None:
        for pk in pks:
            self.rows.pop(pk, None)
            for known in self.matching.values():
                known.pop(pk, None)
            self.forgotten.add(pk)

    def forget_all(self) -> None:
        self.forget(list(self.rows))
        self.matching.clear()
        self.showing.clear()

    def forget_runs(self, runs: Iterable[int]) -> None:
        """Forget the rows that show these runs; those of a run that is not known are asked for by `keys`."""
        for run in runs:
            self.forget(self.showing.get(run, ()))

    async def keys(self, own: Collection[int], runs: Collection[int]) -> set[int]:
        """Return the keys of the changed rows: those that are named, and those that show one of the runs."""
        async with self.reading:
            unknown = [run for run in runs if run not in self.showing] if self.of.showing else []
            if unknown:
                if len(self.showing) > MOST_ROWS:
                    self.showing.clear()
                version = self.version
                found = await rows_showing(self.of, unknown)
                if version == self.version:
                    self.showing |= dict.fromkeys(unknown, ())
                self.showing |= found
                # They are kept as they were before the change.
                self.forget_runs(unknown)
        return {*own, *(pk for run in runs for pk in self.showing.get(run, ()))}

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
                rows, matches = await load(self.of, unread, unmatched, query)
                self.rows |= dict.fromkeys(unread) | rows
                known |= {pk: pk in matches for pk in unmatched}
            found = [(row, not query or known[pk]) for pk in pks if (row := self.rows[pk])]
            # What changed while it was read is sent, because its change comes after it, and not kept.
            for pk in self.forgotten:
                self.rows.pop(pk, None)
                known.pop(pk, None)
            return found


def feeds() -> dict[str, RowFeed]:
    return {name: RowFeed(of) for name, of in LISTS.items()}


@sync_to_async
def load(
    of: ListRows, unread: Collection[int], unmatched: Collection[int], query: str
) -> tuple[dict[int, Row], set[int]]:
    """Return the rows by key, and the keys of those that match the filters."""
    try:
        model_admin = admin.site.get_model_admin(of.model)
        found = of.read(unread) if unread else []
        html = rendered(model_admin, found)
        rows = {row.pk: Row(row.pk, of.target(row), html[row.pk], of.cell(row)) for row in found}
        matches: set[int] = set()
        if unmatched:
            chosen = condition_of(model_admin, QueryDict(query))
            matches = set(of.model._default_manager.filter(chosen, pk__in=unmatched).values_list("pk", flat=True))
        return rows, matches
    finally:
        # The stream lasts for hours and must not hold one of the pool's few connections.
        if not connection.in_atomic_block:
            connection.close()


@sync_to_async
def rows_showing(of: ListRows, runs: Collection[int]) -> dict[int, tuple[int, ...]]:
    """Return run -> the keys of the rows that show it."""
    try:
        return of.showing(runs) if of.showing else {}
    finally:
        if not connection.in_atomic_block:
            connection.close()
