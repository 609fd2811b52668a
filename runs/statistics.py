"""Counts and durations of runs, from the mirror: Prefect takes seconds to count a large history."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from django.db.models import Aggregate, Count, FloatField, Q, QuerySet
from django.db.models.functions import TruncDate
from django.utils import timezone

from runs.models import Run

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


def reliability(runs: QuerySet[Run], *, days: int = DAYS) -> Reliability:
    """Return how the runs that ended in the last `days` ended; the median is of completed runs."""
    completed = Q(state_type="COMPLETED")
    # One query for all numbers, so that they are of the same moment.
    found = runs.filter(ended_at__gte=timezone.now() - timedelta(days=days)).aggregate(
        completed=Count("pk", filter=completed),
        failed=Count("pk", filter=Q(state_type__in=["FAILED", "CRASHED"])),
        cancelled=Count("pk", filter=Q(state_type="CANCELLED")),
        median_seconds=Median("run_seconds", filter=completed),
    )
    return Reliability(days, **found)


@dataclass(frozen=True, slots=True)
class Day:
    """How many runs ended on a day, by Prefect's state type."""

    day: date
    counts: dict[str, int] = field(default_factory=dict)


def by_day(runs: QuerySet[Run], *, days: int) -> list[Day]:
    """Return the last `days` days in the portal's time zone, oldest first; today and empty days are included."""
    today = timezone.localdate()
    first = today - timedelta(days=days - 1)
    midnight = timezone.make_aware(datetime.combine(first, time.min))
    found = {first + timedelta(days=number): Day(first + timedelta(days=number)) for number in range(days)}
    # Without the default ordering, which would become part of GROUP BY.
    rows = (
        runs.order_by()
        .filter(ended_at__gte=midnight, state_type__in=ENDS)
        .values_list(TruncDate("ended_at"), "state_type")
        .annotate(number=Count("pk"))
    )
    for day, state_type, number in rows:
        if day in found:  # a server whose clock is ahead reports runs that end tomorrow
            found[day].counts[state_type] = number
    return list(found.values())
