"""The lists whose rows are sent to open pages: how their rows are read, and which of them show a run."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin
from django.db.models import F, Model, QuerySet

from flows.models import Deployment
from portal.lists.reader_cells import ReaderCell
from runs.access.decisions import Target
from runs.models import Run, RunRequest


@dataclass(frozen=True, slots=True)
class ListRows:
    """The rows of one list.

    `subject` is that of its own changes. `showing` returns for some runs the rows that show them; None where a row
    shows no other run. Without filters, changed rows replace those that a page has, and never join or leave them.
    """

    model: type[Model]
    subject: str
    target: Callable[[Any], Target]
    showing: Callable[[Collection[int]], dict[int, tuple[int, ...]]] | None = None
    has_filters: bool = True

    def read(self, pks: Collection[int]) -> Sequence[Any]:
        """Return the rows with all that they show, which must be the same for all who see them."""
        found: Sequence[Any] = admin.site.get_model_admin(self.model).live_rows(pks)  # type: ignore[attr-defined]  # of these lists
        return found

    def cell(self, row: Any) -> ReaderCell | None:
        """Return the cell of a row that not all who see the row may see."""
        found: Callable[[Any], ReaderCell] | None = getattr(admin.site.get_model_admin(self.model), "reader_cell", None)
        return found(row) if found else None


def together(pairs: QuerySet[Any, tuple[int, int]]) -> dict[int, tuple[int, ...]]:
    found: dict[int, tuple[int, ...]] = {}
    for run, row in pairs:
        found[run] = (*found.get(run, ()), row)
    return found


def requests_of(runs: Collection[int]) -> dict[int, tuple[int, ...]]:
    """The state of a launched request is that of its run."""
    return together(RunRequest.objects.filter(run__in=runs).values_list("run", "pk"))


def deployments_of(runs: Collection[int]) -> dict[int, tuple[int, ...]]:
    """A deployment shows its last run."""
    return together(Run.objects.filter(pk__in=runs, deployment__isnull=False).values_list("pk", F("deployment")))


# Name in the address of the stream -> its rows.
LISTS: dict[str, ListRows] = {
    "runs": ListRows(Run, "run", Target.of_run),
    "requests": ListRows(RunRequest, "request", lambda row: Target.of(row.deployment), requests_of),
    "deployments": ListRows(Deployment, "", Target.of, deployments_of, has_filters=False),
}
