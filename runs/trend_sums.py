"""The sums behind `run_trends`: of hours for a range of hours, of days for a range of days.

A day of `DeploymentDayCount` and `EnvironmentDayCount` is one of UTC. Where midnight in the portal is at another time,
the hours between the two are added to the day that they belong to, and subtracted from the one that counts them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, tzinfo
from functools import reduce
from operator import or_
from typing import Any, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import F, IntegerField, Model, Q, QuerySet, Value
from django.db.models.functions import TruncDate
from django.utils import timezone

from runs.models import DeploymentDayCount, EnvironmentDayCount, RunCount

# Terminal states, in the order in which charts stack them.
ENDS = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
FAILED = ("FAILED", "CRASHED")
# Both in one query, so that they are of the same moment. The sign is -1 of what is counted in another day. What was
# before the range is one slot, and of deployments the first ones are returned: of all, a large portal has thousands. A
# deployment that was deleted and deployed again is another row of the same name.
SUMS = """
    WITH counted AS (
        SELECT deployment, state_type, sum(sign * number)::bigint AS number, sum(sign * total_ms)::bigint AS total_ms
        FROM ({deployments}) AS counted (deployment, state_type, number, total_ms, sign)
        WHERE deployment IS NOT NULL GROUP BY 1, 2
    ), named AS (
        SELECT slug, full_name, state_type, number, total_ms FROM counted
        JOIN flows_deployment ON flows_deployment.id = deployment
        JOIN flows_environment ON flows_environment.id = flows_deployment.environment_id
        WHERE number <> 0
    ), totals AS (
        SELECT slug, full_name, sum(number) AS ended, sum(number) FILTER (WHERE state_type = ANY(%s)) AS failed,
            sum(total_ms) FILTER (WHERE state_type = %s) / sum(number) FILTER (WHERE state_type = %s) AS mean_ms
        FROM named GROUP BY 1, 2
    ), first AS (
        {first}
    )
    SELECT slot, state_type, bucket, NULL AS slug, NULL AS full_name, sum(sign * number)::bigint AS number,
        sum(sign * total_ms)::bigint
    FROM (
        SELECT CASE WHEN slot >= %s THEN slot END, state_type, bucket, number, total_ms, sign
        FROM ({slots}) AS counted (slot, state_type, bucket, number, total_ms, sign)
    ) AS counted (slot, state_type, bucket, number, total_ms, sign)
    GROUP BY 1, 2, 3 HAVING sum(sign * number) <> 0
    UNION ALL
    SELECT NULL, state_type, NULL, slug, full_name, number, total_ms FROM named JOIN first USING (slug, full_name)
"""
# One part of `first`; in the order of `run_trends.highest`.
FIRST = """
    (SELECT slug, full_name FROM totals WHERE {measure} > 0
    ORDER BY {measure} DESC, full_name COLLATE "C", slug COLLATE "C" LIMIT %s)
"""
MEASURES = ("ended", "failed", "mean_ms")
# Beside the parts, because one of a reader who sees nothing has no SQL.
NO_SLOTS = "SELECT NULL::{kind}, '', 0::smallint, 0, 0::bigint, 1 WHERE false"
NO_DEPLOYMENTS = "SELECT NULL::bigint, '', 0, 0::bigint, 1 WHERE false"
ONE = Value(1, IntegerField())
MINUS_ONE = Value(-1, IntegerField())


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


@dataclass(frozen=True, slots=True)
class Readable:
    """Which counts may be read: filters for rows that name environment, access deployment and flow.

    `whole` is a filter by environment, for those of which `visible` allows every row. Their runs are read as sums of
    the environment; `Q(pk__in=[])` is always right, and slower.
    """

    visible: Q
    whole: Q


class Sum(NamedTuple):
    """A sum by slot, state and bucket; or by deployment and state, without slot and bucket.

    A sum without slot and deployment is of the range before.
    """

    slot: datetime | date | None
    state_type: str
    bucket: int | None
    environment: str | None
    deployment: str | None
    number: int
    total_ms: int


def read(readable: Readable, span: Range, *, first: int) -> list[Sum]:
    """Return the sums by slot in the range, of the one before it, and of some deployments; in one query.

    A slot is named by its beginning, or by its date in the portal's time zone. The deployments are the `first` ones
    that ran most, failed most, or took longest on average.
    """
    slots, deployments = hourly(readable, span) if span.is_hourly else daily(readable, span)
    kind = "timestamptz" if span.is_hourly else "date"
    slots_text, slots_values = joined(slots, NO_SLOTS.format(kind=kind))
    text, values = joined(deployments, NO_DEPLOYMENTS)
    ranks = " UNION ".join(FIRST.format(measure=measure) for measure in MEASURES)
    begins = span.begins if span.is_hourly else timezone.localdate(span.begins, timezone.get_default_timezone())
    states: list[Any] = [list(FAILED), "COMPLETED", "COMPLETED"]
    with connection.cursor() as cursor:
        cursor.execute(
            SUMS.format(slots=slots_text, deployments=text, first=ranks),
            [*values, *states, *[first] * len(MEASURES), begins, *slots_values],
        )
        return [Sum(*row) for row in cursor.fetchall()]


# Rows to add up; and those by slot and by deployment.
type Part = QuerySet[Any, tuple[Any, ...]]
type Parts = tuple[list[Part], list[Part]]


def hourly(readable: Readable, span: Range) -> Parts:
    hours = ended(RunCount).filter(readable.visible, hour__lt=span.ends)
    return (
        [by_slot(hours.filter(hour__gte=span.before), F("hour"))],
        [by_deployment(hours.filter(hour__gte=span.begins))],
    )


def daily(readable: Readable, span: Range) -> Parts:
    zone = timezone.get_default_timezone()
    before, begins, ends = (midnight(each, zone).date() for each in (span.before, span.begins, span.ends))
    # 1. Of whole environments their own sums; of all others, hour by hour what the reader may see.
    hours = ended(RunCount).alias(local=TruncDate("hour", tzinfo=zone), day=TruncDate("hour", tzinfo=UTC))
    days = ended(EnvironmentDayCount).filter(readable.whole, day__gte=before, day__lt=ends)
    others = hours.filter(readable.visible, ~readable.whole, hour__gte=span.before, hour__lt=span.ends)
    slots = [by_slot(days, F("day")), by_slot(others, F("local"))]
    # 2. Of deployments the sums of their days.
    of_deployments = ended(DeploymentDayCount).filter(readable.visible, day__gte=begins, day__lt=ends)
    deployments = [by_deployment(of_deployments)]
    # 3. The hours that are of another day here than in UTC; none where the portal's zone is UTC.
    moved = reduce(or_, (between(bound, midnight(bound, zone)) for bound in (span.before, *span.bounds)))
    here = hours.filter(moved, readable.whole, hour__gte=span.before, hour__lt=span.ends)
    in_utc = hours.filter(moved, readable.whole, day__gte=before, day__lt=ends)
    slots += [by_slot(here, F("local")), by_slot(in_utc, F("day"), MINUS_ONE)]
    # Before its midnight in UTC a day here has hours that are missing; after it, hours that are too many.
    for bound, earlier, later in ((span.begins, ONE, MINUS_ONE), (span.ends, MINUS_ONE, ONE)):
        edge = hours.filter(readable.visible, between(bound, midnight(bound, zone)))
        deployments.append(by_deployment(edge, earlier if bound < midnight(bound, zone) else later))
    return slots, deployments


def midnight(bound: datetime, zone: tzinfo) -> datetime:
    """Return when the day that begins here at `bound` begins in UTC."""
    return datetime.combine(timezone.localtime(bound, zone).date(), time.min, UTC)


def between(one: datetime, other: datetime) -> Q:
    """Return the condition for the hours between two times; for none when they are the same."""
    return Q(hour__gte=min(one, other), hour__lt=max(one, other)) if one != other else Q(pk__in=[])


def ended[M: Model](model: type[M]) -> QuerySet[M]:
    # Without the default ordering: the sums have none.
    return model._default_manager.order_by().filter(state_type__in=ENDS)


def by_slot(counts: QuerySet[Any], slot: F, sign: Value = ONE) -> Part:
    columns = ("state_type", "duration_bucket", "number", "total_ms")
    part: Part = counts.annotate(slot=slot, sign=sign).values_list("slot", *columns, "sign")
    return part


def by_deployment(counts: QuerySet[Any], sign: Value = ONE) -> Part:
    columns = ("deployment_id", "state_type", "number", "total_ms")
    part: Part = counts.annotate(sign=sign).values_list(*columns, "sign")
    return part


def joined(parts: Iterable[Part], nothing: str) -> tuple[str, list[Any]]:
    """Return the SQL of all rows of the parts, with its parameters."""
    texts, values = [nothing], list[Any]()
    for part in parts:
        try:
            text, parameters = part.query.sql_with_params()
        except EmptyResultSet:
            continue
        texts.append(text)
        values.extend(parameters)
    return " UNION ALL ".join(texts), values
