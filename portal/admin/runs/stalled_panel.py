"""The stalled runs on the overview: how many of each kind, each with a link to the list of them."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count, QuerySet
from django.urls import reverse

from runs.models import Run, Stall


@dataclass(frozen=True, slots=True)
class StalledRuns:
    """The number of visible runs that are stalled in one way, and the address of their list."""

    label: str
    number: int
    url: str


def stalled_runs(runs: QuerySet[Run]) -> list[StalledRuns]:
    """Return one row for each kind of stall that there is, in the order of the kinds, with one query."""
    rows = runs.order_by().exclude(stalled_kind="").values_list("stalled_kind").annotate(number=Count("pk"))
    numbers: dict[str, int] = dict(rows)
    address = reverse("admin:runs_run_changelist")
    return [
        StalledRuns(str(kind.label), numbers[kind], f"{address}?stalled={kind.value}")
        for kind in Stall
        if kind in numbers
    ]
