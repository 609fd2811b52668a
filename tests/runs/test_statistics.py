"""Counts and durations of runs."""

from datetime import timedelta

import pytest
from django.utils import timezone

from flows.models import Deployment
from runs import statistics
from runs.models import Run, RunCount
from tests.portal.many_rows import many_runs

pytestmark = pytest.mark.django_db


def ended(
    deployment: Deployment, state: str, *, ago: timedelta = timedelta(), seconds: float = 0, number: int = 1
) -> None:
    many_runs(deployment, number, state_type=state, ended_at=timezone.now() - ago, run_seconds=seconds)


def reliability() -> statistics.Reliability:
    return statistics.reliability(RunCount.objects.all(), Run.objects.all())


def test_the_rate_counts_what_was_decided_and_the_median_what_was_completed(deployment: Deployment) -> None:
    for seconds in (1.0, 2.0, 30.0):
        ended(deployment, "COMPLETED", seconds=seconds)
    ended(deployment, "FAILED", seconds=500)
    ended(deployment, "CRASHED", seconds=500)
    ended(deployment, "CANCELLED", seconds=500)
    found = reliability()
    assert (found.completed, found.failed, found.cancelled, found.ended) == (3, 2, 1, 6)
    assert found.success_rate == 0.6
    assert found.median_seconds == 2.0


def test_the_median_of_an_even_number_lies_in_between(deployment: Deployment) -> None:
    ended(deployment, "COMPLETED", seconds=10)
    ended(deployment, "COMPLETED", seconds=20)
    assert reliability().median_seconds == 15


def test_what_is_older_or_not_over_does_not_count(deployment: Deployment) -> None:
    ended(deployment, "COMPLETED", ago=timedelta(days=31))
    many_runs(deployment, 2, state_type="RUNNING")
    found = reliability()
    assert found.ended == 0
    assert found.success_rate is None
    assert found.median_seconds is None


def test_only_cancelled_runs_make_no_rate(deployment: Deployment) -> None:
    ended(deployment, "CANCELLED", number=3)
    assert reliability().success_rate is None
