"""How the runs of the last day, week or month ended, over time and by deployment, beside the time before.

Everything is read from `RunCount` and its sums by day, in one query, whatever the number of runs: `trend_sums`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from operator import itemgetter

from django.utils import timezone

from runs import trend_sums
from runs.duration_buckets import percentile
from runs.trend_sums import Range, Readable


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
        return sum(self.counts[state] for state in trend_sums.FAILED)

    @property
    def success_rate(self) -> float | None:
        """A share from 0 to 1; None when no run completed or failed. Cancelled runs count for neither."""
        decided = self.completed + self.failed
        return self.completed / decided if decided else None


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

    def percentile(self, share: float) -> float | None:
        """Return the seconds that this share of the completed runs did not exceed; None when none completed."""
        return percentile(self.buckets, share)


@dataclass(frozen=True, slots=True)
class Slot:
    """One bar of a chart: the runs that ended from `begins` until just before `ends`."""

    begins: datetime
    ends: datetime
    totals: Totals = field(default_factory=Totals)


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
    """The runs of a range: in each slot, in all of them, in the range before, and of the first deployments.

    These are the ones that ran most, failed most, or took longest on average: enough for `highest`.
    """

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


def trend(readable: Readable, span: Range, *, first: int) -> Trend:
    """Return how the readable runs ended in a range and in the one before it, in one query.

    `first` is how many deployments each ranking has.
    """
    zone = timezone.get_default_timezone()
    slots = [Slot(begins, ends) for begins, ends in pairwise(span.bounds)]
    by_name = {slot.begins if span.is_hourly else timezone.localtime(slot.begins, zone).date(): slot for slot in slots}
    now, before = Totals(), Totals()
    found: dict[tuple[str, str], DeploymentTotals] = {}
    for each in trend_sums.read(readable, span, first=first):
        if each.environment is not None and each.deployment is not None:
            name = (each.environment, each.deployment)
            found.setdefault(name, DeploymentTotals(*name)).add(each.state_type, each.number, each.total_ms)
        elif each.slot is None:
            before.add(each.state_type, each.bucket or 0, each.number)
        else:
            by_name[each.slot].totals.add(each.state_type, each.bucket or 0, each.number)
            now.add(each.state_type, each.bucket or 0, each.number)
    return Trend(slots, now, before, [found[name] for name in sorted(found)])


def highest(
    rows: Iterable[DeploymentTotals], number: int, value: Callable[[DeploymentTotals], float | None]
) -> list[DeploymentTotals]:
    """Return the rows with the highest values, the highest first; none where it is 0 or None."""
    found = [(-known, row.name, row.environment, row) for row in rows if (known := value(row))]
    return [row for *_, row in sorted(found, key=itemgetter(0, 1, 2))[:number]]
