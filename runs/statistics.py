"""Counts and durations of runs, from the mirror: Prefect takes seconds to count a large history.

Counts are read from `RunCount`, which is small and outlives the runs; a median needs the runs themselves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from django.db.models import Aggregate, FloatField, Max, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from runs.models import Run, RunCount

DAYS = 30
# Terminal states, in the order in which charts stack them.
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


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
    """Return how the runs that ended in the last `days` ended; the median is of completed runs that are still stored.

    `runs` are those that `counts` count.
    """
    since = timezone.now() - timedelta(days=days)
    completed = runs.order_by().filter(state_type="COMPLETED", ended_at__gte=since).values("state_type")
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


@dataclass(frozen=True, slots=True)
class Day:
    """How many runs ended on a day, by Prefect's state type."""

    day: date
    counts: dict[str, int] = field(default_factory=dict)


def by_day(counts: QuerySet[RunCount], *, days: int) -> list[Day]:
    """Return the last `days` days in the portal's time zone, oldest first; today and empty days are included."""
    today = timezone.localdate()
    first = today - timedelta(days=days - 1)
    midnight = timezone.make_aware(datetime.combine(first, time.min))
    found = {first + timedelta(days=number): Day(first + timedelta(days=number)) for number in range(days)}
    # Without the default ordering, which would become part of GROUP BY.
    rows = (
        counts.order_by()
        .filter(hour__gte=midnight, state_type__in=ENDS)
        .values_list(TruncDate("hour"), "state_type")
        .annotate(total=Sum("number"))
    )
    for day, state_type, number in rows:
        if day in found:  # a server whose clock is ahead reports runs that end tomorrow
            found[day].counts[state_type] = number
    return list(found.values())
