"""Runs over time and by deployment, beside the time before."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.db.models import Q
from django.utils import timezone

from flows.models import Deployment
from runs import mirror, run_trends, trend_sums
from runs.duration_buckets import ERROR
from runs.models import Run, RunCount
from runs.trend_sums import Range, Readable
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db
EVERYWHERE, NOWHERE = Q(environment__isnull=False), Q(pk__in=[])


def ended(
    deployment: Deployment, state: str, *, ago: timedelta = timedelta(), seconds: float = 0, number: int = 1
) -> None:
    many_runs(deployment, number, state_type=state, ended_at=timezone.now() - ago, run_seconds=seconds)


def trend(span: Range) -> run_trends.Trend:
    """As a reader of whole environments has it, which is also what one has who is asked row by row."""
    found, by_rows = (run_trends.trend(Readable(Q(), whole), span, first=5) for whole in (EVERYWHERE, NOWHERE))
    assert found == by_rows
    return found


def test_every_day_is_there_oldest_first_the_empty_ones_too(deployment: Deployment) -> None:
    ended(deployment, "COMPLETED", number=2)
    ended(deployment, "FAILED", ago=timedelta(days=2))
    many_runs(deployment, 1, state_type="RUNNING")
    found = trend(run_trends.last_days(4))
    assert [slot.begins.date() for slot in found.slots] == [
        timezone.localdate() - timedelta(days=number) for number in (3, 2, 1, 0)
    ]
    assert [dict(slot.totals.counts) for slot in found.slots] == [{}, {"FAILED": 1}, {}, {"COMPLETED": 2}]
    assert (found.now.ended, found.now.completed, found.now.failed) == (3, 2, 1)


def test_the_range_before_is_as_long_and_counts_no_older_run(deployment: Deployment) -> None:
    for days in (0, 3, 4, 7, 8):
        ended(deployment, "COMPLETED", ago=timedelta(days=days))
    found = trend(run_trends.last_days(4))
    assert (found.now.ended, found.before.ended) == (2, 2)


def test_hours_end_with_the_current_one(deployment: Deployment) -> None:
    now = timezone.now().replace(minute=0, second=0, microsecond=0)
    for ago in (timedelta(), timedelta(hours=23), timedelta(hours=24), timedelta(hours=48)):
        many_runs(deployment, 1, state_type="COMPLETED", ended_at=now - ago)
    found = trend(run_trends.last_hours(24))
    assert len(found.slots) == 24
    assert (found.slots[0].totals.ended, found.slots[-1].totals.ended) == (1, 1)
    assert (found.now.ended, found.before.ended) == (2, 1)


def test_a_day_begins_at_midnight_in_the_portals_time_zone(
    deployment: Deployment, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.TIME_ZONE = "Europe/Vienna"
    # Half past midnight in Vienna, still the day before in UTC.
    now = datetime(2026, 7, 2, 22, 30, tzinfo=UTC)
    monkeypatch.setattr(timezone, "now", lambda: now)
    many_runs(deployment, 1, ended_at=now - timedelta(minutes=20))
    many_runs(deployment, 1, ended_at=now - timedelta(minutes=40))
    found = trend(run_trends.last_days(2))
    assert [(f"{slot.begins:%d}", slot.totals.ended) for slot in found.slots] == [("02", 1), ("03", 1)]


@pytest.mark.parametrize("changes_on", [datetime(2026, 3, 29, 12, tzinfo=UTC), datetime(2026, 10, 25, 12, tzinfo=UTC)])
def test_hours_and_days_are_complete_when_the_clocks_change(
    deployment: Deployment, settings: Any, monkeypatch: pytest.MonkeyPatch, changes_on: datetime
) -> None:
    settings.TIME_ZONE = "Europe/Vienna"
    monkeypatch.setattr(timezone, "now", lambda: changes_on)
    for hours in range(48):
        many_runs(deployment, 1, ended_at=changes_on - timedelta(hours=hours))
    assert [slot.totals.ended for slot in trend(run_trends.last_hours(24)).slots] == [1] * 24
    days = trend(run_trends.last_days(2))
    # In UTC: between two local times Python counts the hours of the clock.
    lengths = [(slot.ends.astimezone(UTC) - slot.begins.astimezone(UTC)) // timedelta(hours=1) for slot in days.slots]
    assert lengths[1] in (23, 25)
    assert days.slots[0].totals.ended == lengths[0]


def test_runs_that_end_later_by_a_fast_clock_are_not_counted(deployment: Deployment) -> None:
    ended(deployment, "COMPLETED", ago=timedelta(days=-2))
    found = trend(run_trends.last_days(2))
    assert (found.now.ended, found.before.ended) == (0, 0)


def test_percentiles_are_those_of_completed_runs_within_the_error(deployment: Deployment) -> None:
    for seconds in range(1, 21):
        ended(deployment, "COMPLETED", seconds=seconds)
    ended(deployment, "FAILED", seconds=5000)
    now = trend(run_trends.last_hours(24)).now
    for share, exact in ((0.5, 10), (0.95, 19)):
        found = now.percentile(share)
        assert found is not None
        assert abs(found - exact) <= exact * ERROR
    assert trend(run_trends.last_hours(24)).before.percentile(0.5) is None


def test_the_rate_counts_what_was_decided(deployment: Deployment) -> None:
    ended(deployment, "COMPLETED", number=3)
    ended(deployment, "CRASHED")
    ended(deployment, "CANCELLED", number=5)
    found = trend(run_trends.last_hours(24))
    assert found.now.success_rate == 0.75
    assert found.before.success_rate is None


def test_deployments_are_ranked_and_those_with_nothing_are_left_out(
    deployment: Deployment, prod_deployment: Deployment
) -> None:
    ended(deployment, "COMPLETED", seconds=2, number=3)
    ended(deployment, "COMPLETED", seconds=8)
    ended(prod_deployment, "FAILED", number=2)
    ended(deployment, "FAILED", ago=timedelta(days=9))
    rows = trend(run_trends.last_days(7)).deployments
    most_run = run_trends.highest(rows, 5, lambda row: row.ended)
    assert [(row.environment, row.ended) for row in most_run] == [("dev", 4), ("prod", 2)]
    assert [row.environment for row in run_trends.highest(rows, 5, lambda row: row.failed)] == ["prod"]
    (slowest,) = run_trends.highest(rows, 5, lambda row: row.mean_seconds)
    assert slowest.mean_seconds == 3.5


def test_of_many_deployments_the_first_ones_are_returned(deployment: Deployment, prod_deployment: Deployment) -> None:
    dice = random.Random(3)
    for number in range(24):
        place = dice.choice([deployment, prod_deployment])
        # Every third has the name of another one: it was deleted and deployed again. Many are equal in a measure.
        columns = {"id": None, "prefect_id": uuid4(), "full_name": f"f/{number - number % 3 // 2}"}
        copy = Deployment(**{field.name: getattr(place, field.name) for field in Deployment._meta.fields} | columns)
        copy.save()
        for state in dice.sample(trend_sums.ENDS, 3):
            ended(copy, state, seconds=dice.choice([1, 20]), number=dice.randint(1, 3))
    for span in (run_trends.last_hours(24), run_trends.last_days(7)):
        readable = Readable(Q(), EVERYWHERE)
        some, every = (run_trends.trend(readable, span, first=first).deployments for first in (3, 100))
        assert len(every) > len(some)
        for value in (lambda row: row.ended, lambda row: row.failed, lambda row: row.mean_seconds):
            assert run_trends.highest(some, 3, value) == run_trends.highest(every, 3, value)


def test_runs_without_a_deployment_count_and_are_not_ranked(deployment: Deployment) -> None:
    many_runs(deployment, 2, state_type="COMPLETED", ended_at=timezone.now(), run_seconds=1.0)
    Run.objects.update(deployment=None, access_deployment=None)
    mirror.rebuild_counts(deployment.environment)
    for span in (run_trends.last_hours(24), run_trends.last_days(7)):
        found = trend(span)
        assert found.now.ended == 2
        assert found.deployments == []


def test_who_sees_nothing_reads_nothing(deployment: Deployment) -> None:
    ended(deployment, "COMPLETED")
    for span in (run_trends.last_hours(24), run_trends.last_days(7)):
        found = run_trends.trend(Readable(NOWHERE, NOWHERE), span, first=5)
        assert (found.now.ended, found.deployments) == (0, [])


@pytest.mark.parametrize(
    ("zone", "now"),
    [
        ("UTC", datetime(2026, 11, 20, 9, tzinfo=UTC)),
        ("Europe/London", datetime(2026, 11, 5, 9, tzinfo=UTC)),
        ("America/New_York", datetime(2026, 11, 5, 3, tzinfo=UTC)),
        ("Pacific/Auckland", datetime(2026, 10, 1, 12, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2026, 11, 20, 19, tzinfo=UTC)),
    ],
)
def test_days_have_the_runs_of_their_hours_in_every_time_zone(
    deployment: Deployment,
    prod_deployment: Deployment,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    zone: str,
    now: datetime,
) -> None:
    settings.TIME_ZONE = zone
    monkeypatch.setattr(timezone, "now", lambda: now)
    dice = random.Random(zone)
    for place in (deployment, prod_deployment):
        Run.objects.bulk_create(
            Run(
                environment=place.environment,
                deployment=place,
                access_deployment=place,
                prefect_id=uuid4(),
                state_type=dice.choice(["COMPLETED", "FAILED"]),
                created_upstream_at=now,
                synced_at=now,
                ended_at=now - timedelta(minutes=dice.randint(0, 14 * 24 * 60)),
                run_seconds=dice.choice([1.0, 100.0]),
            )
            for _ in range(150)
        )
        mirror.rebuild_counts(place.environment)
    span = run_trends.last_days(5)
    # One environment as a whole, the other row by row.
    mixed = run_trends.trend(Readable(Q(), Q(environment=deployment.environment)), span, first=5)
    assert mixed == trend(span)
    counted: dict[Any, Counter[str]] = defaultdict(Counter)
    for row in RunCount.objects.filter(hour__gte=span.before, hour__lt=span.ends):
        day = timezone.localtime(row.hour).date()
        counted[day if row.hour >= span.begins else "before"][row.state_type] += row.number
        if row.hour >= span.begins:
            counted[row.environment_id][row.state_type] += row.number
    assert [slot.totals.counts for slot in mixed.slots] == [counted[slot.begins.date()] for slot in mixed.slots]
    assert mixed.before.counts == counted["before"]
    ranked = {each.environment: each.counts for each in mixed.deployments}
    assert ranked == {"dev": counted[deployment.environment_id], "prod": counted[prod_deployment.environment_id]}
