"""Runs over time and by deployment, beside the time before."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from flows.models import Deployment
from runs import mirror, run_trends
from runs.duration_buckets import ERROR
from runs.models import Run, RunCount
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db


def ended(
    deployment: Deployment, state: str, *, ago: timedelta = timedelta(), seconds: float = 0, number: int = 1
) -> None:
    many_runs(deployment, number, state_type=state, ended_at=timezone.now() - ago, run_seconds=seconds)


def trend(span: run_trends.Range) -> run_trends.Trend:
    return run_trends.trend(RunCount.objects.all(), span)


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
    found = run_trends.trend(RunCount.objects.filter(pk__in=[]), run_trends.last_days(7))
    assert (found.now.ended, found.deployments) == (0, [])
