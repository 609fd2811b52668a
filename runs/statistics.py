"""Counts and durations of runs, from the mirror: Prefect takes seconds to count a large history.

Counts are read from `RunCount`, which is small and outlives the runs; a median needs the runs themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Aggregate, FloatField, Max, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce
from django.utils import timezone

from runs.models import Run, RunCount

DAYS = 30


class Median(Aggregate):
    """The median; Postgres interpolates between the two middle values of an even number."""

    function = "PERCENTILE_CONT"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)%(filter)s"
    output_field = FloatField()


@dataclass(frozen=True, slots=True)
class Reliability:
    """How the runs of the last `days` ended. Cancelled runs count neither as success nor as failure."""

    days: int
    completed: int
    failed: int
    cancelled: int
    median_seconds: float | None

    @property
    def ended(self) -> int:
        return self.completed + self.failed + self.cancelled

    @property
    def success_rate(self) -> float | None:
        """Return a share from 0 to 1, or None when no run completed or failed."""
        decided = self.completed + self.failed
        return self.completed / decided if decided else None


def reliability(counts: QuerySet[RunCount], runs: QuerySet[Run], *, days: int = DAYS) -> Reliability:
    """Return how the runs that ended in the last `days` ended.

    The median is of the completed runs that began in them and are still stored. `runs` are those that `counts` count.
    """
    since = timezone.now() - timedelta(days=days)
    # By the column of the lists, because Postgres finds the last runs of a deployment by it.
    completed = runs.order_by().filter(state_type="COMPLETED", sort_at__gte=since).values("state_type")
    median = completed.annotate(median=Median("run_seconds")).values("median")

    def total(*states: str) -> Coalesce:
        return Coalesce(Sum("number", filter=Q(state_type__in=states)), 0)

    # One query for all numbers, so that they are of the same moment.
    found = (
        counts.order_by()
        .filter(hour__gte=since)
        .aggregate(
            completed=total("COMPLETED"),
            failed=total("FAILED", "CRASHED"),
            cancelled=total("CANCELLED"),
            median_seconds=Max(Subquery(median)),
        )
    )
    return Reliability(days, **found)
