"""How the runs of the last day, week or month ended, over time and by deployment, beside the time before.

Everything is read from `RunCount`, in one query, whatever the number of runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from operator import itemgetter
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.functions import TruncDay
from django.utils import timezone

from runs.duration_buckets import percentile
from runs.models import RunCount

# Both in one reading of the counts. The second is grouped by range too, because it is of the later one only. By keys,
# and not by names, which then are looked up once for each deployment.
SUMS = """
    SELECT slot, state_type, bucket, slug, full_name, number, total_ms
    FROM (
        SELECT slot, state_type, bucket, deployment, is_now, grouping(slot) AS is_of_deployment,
            sum(number)::bigint AS number, sum(total_ms)::bigint AS total_ms
        FROM ({counted}) AS counted (slot, state_type, bucket, deployment, is_now, number, total_ms)
        GROUP BY GROUPING SETS ((slot, state_type, bucket), (deployment, is_now, state_type))
    ) AS sums
    LEFT JOIN flows_deployment ON flows_deployment.id = deployment
    LEFT JOIN flows_environment ON flows_environment.id = flows_deployment.environment_id
    WHERE is_of_deployment = 0 OR (is_now AND deployment IS NOT NULL)
"""
FAILED = ("FAILED", "CRASHED")
# Terminal states, in the order in which charts stack them.
ENDS = ("COMPLETED", *FAILED, "CANCELLED")


@dataclass(slots=True)
class StateCounts:
    """Numbers of runs that ended, by state."""

    counts: Counter[str] = field(default_factory=Counter, kw_only=True)

    @property
    def ended(self) -> int:
        return self.counts.total()

    @property
    def completed(self) -> int:
        return self.counts["COMPLETED"]

    @property
    def failed(self) -> int:
        return sum(self.counts[state] for state in FAILED)


@dataclass(slots=True)
class Totals(StateCounts):
    """The numbers of a time, with the completed runs by bucket of their duration."""

    buckets: Counter[int] = field(default_factory=Counter)

    def add(self, state_type: str, bucket: int, number: int) -> None:
        self.counts[state_type] += number
        if state_type == "COMPLETED":
            self.buckets[bucket] += number

    @property
    def cancelled(self) -> int:
        return self.counts["CANCELLED"]

    @property
    def success_rate(self) -> float | None:
        """A share from 0 to 1; None when no run completed or failed. Cancelled runs count for neither."""
        decided = self.completed + self.failed
        return self.completed / decided if decided else None

    def percentile(self, share: float) -> float | None:
        """Return the seconds that this share of the completed runs did not exceed; None when none completed."""
        return percentile(self.buckets, share)


@dataclass(frozen=True, slots=True)
class Slot:
    """One bar of a chart: the runs that ended from `begins` until just before `ends`."""

    begins: datetime
    ends: datetime
    totals: Totals = field(default_factory=Totals)


@dataclass(frozen=True, slots=True)
class Range:
    """Consecutive hours or days up to now: `bounds` are their beginnings and the end of the last one.

    `before` is the beginning of as many hours or days before them.
    """

    is_hourly: bool
    bounds: tuple[datetime, ...]
    before: datetime

    @property
    def begins(self) -> datetime:
        return self.bounds[0]

    @property
    def ends(self) -> datetime:
        return self.bounds[-1]


@dataclass(slots=True)
class DeploymentTotals(StateCounts):
    """How the runs of one deployment ended, by its name in its environment."""

    environment: str
    name: str
    completed_ms: int = 0

    def add(self, state_type: str, number: int, total_ms: int) -> None:
        self.counts[state_type] += number
        if state_type == "COMPLETED":
            self.completed_ms += total_ms

    @property
    def mean_seconds(self) -> float | None:
        return self.completed_ms / self.completed / 1000 if self.completed else None


@dataclass(frozen=True, slots=True)
class Trend:
    """The runs of a range: in each slot, in all of them, in the range before, and of each deployment."""

    slots: list[Slot]
    now: Totals
    before: Totals
    deployments: list[DeploymentTotals]


def last_hours(number: int) -> Range:
    """Return the last hours, the current one included."""
    current = timezone.localtime(timezone=timezone.get_default_timezone()).replace(minute=0, second=0, microsecond=0)
    hour = timedelta(hours=1)
    # In UTC: an hour that is added to a local time is one of the clock, which skips or repeats one twice a year.
    bounds = tuple(current.astimezone(UTC) + hour * step for step in range(1 - number, 2))
    return Range(True, bounds, bounds[0] - hour * number)


def last_days(number: int) -> Range:
    """Return the last days in the portal's time zone, today included."""
    zone = timezone.get_default_timezone()
    today = timezone.localdate(timezone=zone)
    days = [today + timedelta(days=step) for step in range(1 - 2 * number, 2)]
    bounds = [timezone.make_aware(datetime.combine(day, time.min), zone) for day in days]
    return Range(False, tuple(bounds[number:]), bounds[0])


def trend(counts: QuerySet[RunCount], span: Range) -> Trend:
    """Return how the counted runs ended in a range and in the one before it, in one query."""
    slots = {begins: Slot(begins, ends) for begins, ends in pairwise(span.bounds)}
    now, before = Totals(), Totals()
    found: dict[tuple[str, str], DeploymentTotals] = {}
    for begins, state_type, bucket, environment, name, number, total_ms in rows(counts, span):
        if name is not None:
            # A deployment that was deleted and deployed again is another row of the same name.
            deployment = found.setdefault((environment, name), DeploymentTotals(environment, name))
            deployment.add(state_type, number, total_ms)
        elif begins in slots:
            slots[begins].totals.add(state_type, bucket, number)
            now.add(state_type, bucket, number)
        else:
            before.add(state_type, bucket, number)
    return Trend(list(slots.values()), now, before, list(found.values()))


def rows(counts: QuerySet[RunCount], span: Range) -> list[tuple[Any, ...]]:
    """Return the sums by slot, state and bucket, and by deployment, state and range."""
    slot = F("hour") if span.is_hourly else TruncDay("hour", tzinfo=timezone.get_default_timezone())
    # Without the default ordering: the sums have none.
    counted = counts.order_by().filter(hour__gte=span.before, hour__lt=span.ends, state_type__in=ENDS)
    counted = counted.annotate(slot=slot, is_now=Q(hour__gte=span.begins)).values_list(
        *("slot", "state_type", "duration_bucket", "deployment_id", "is_now", "number", "total_ms")
    )
    try:
        text, parameters = counted.query.sql_with_params()
    except EmptyResultSet:
        return []
    with connection.cursor() as cursor:
        cursor.execute(SUMS.format(counted=text), parameters)
        found = cursor.fetchall()
    # The beginning of a day is a local time in SQL.
    return found if span.is_hourly else [(begins and aware(begins), *others) for begins, *others in found]


def aware(local: datetime) -> datetime:
    return timezone.make_aware(local, timezone.get_default_timezone())


def highest(
    rows: Iterable[DeploymentTotals], number: int, value: Callable[[DeploymentTotals], float | None]
) -> list[DeploymentTotals]:
    """Return the rows with the highest values, the highest first; none where it is 0 or None."""
    found = [(-known, row.name, row.environment, row) for row in rows if (known := value(row))]
    return [row for *_, row in sorted(found, key=itemgetter(0, 1, 2))[:number]]
