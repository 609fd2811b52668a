"""The counts of runs by hour are those of the runs, whatever is read in whatever order."""

from __future__ import annotations

import math
import random
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from flows.models import Deployment, Environment
from flows.prefect_api.records import StateRecord
from runs import mirror
from runs.duration_buckets import bucket_of
from runs.models import Run, RunCount
from runs.models.run import TERMINAL
from tests.fakes import records
from tests.fakes.prefect import FakePrefect
from tests.runs.mirror.day_sums import assert_that_days_are_sums_of_hours

pytestmark = pytest.mark.django_db
Counts = dict[tuple[Any, ...], tuple[int, int]]
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)


def kept() -> Counts:
    return {
        (
            *(row.deployment_id, row.access_deployment_id, row.flow_name, row.hour, row.state_type),
            row.duration_bucket,
        ): (
            row.number,
            row.total_ms,
        )
        for row in RunCount.objects.all()
    }


def counted() -> Counts:
    """The same, counted from the runs without SQL."""
    numbers: Counter[tuple[Any, ...]] = Counter()
    durations: Counter[tuple[Any, ...]] = Counter()
    for run in Run.objects.filter(ended_at__isnull=False, state_type__in=TERMINAL):
        assert run.ended_at
        hour = run.ended_at.replace(minute=0, second=0, microsecond=0)
        flow = "" if run.access_deployment_id else run.flow_name
        bucket = bucket_of(run.run_seconds * 1000)
        key = (run.deployment_id, run.access_deployment_id, flow, hour, run.state_type, bucket)
        numbers[key] += 1
        durations[key] += round(run.run_seconds * 1000)
    return {key: (number, durations[key]) for key, number in numbers.items()}


@pytest.mark.parametrize("seed", range(5))
def test_the_counts_kept_are_those_of_the_runs(deployment: Deployment, dev: Environment, seed: int) -> None:
    dice = random.Random(seed)
    runs = [records.flow_run(created_at=BEGIN) for _ in range(8)]
    for step in range(60):
        batch = []
        for record in dice.sample(runs, dice.randint(1, 5)):
            # Also backwards in time: an old reading changes nothing.
            at = BEGIN + timedelta(hours=22, minutes=dice.randint(0, 300), seconds=step)
            state_type = dice.choice(["SCHEDULED", "RUNNING", "COMPLETED", "COMPLETED", "FAILED", "CANCELLED"])
            batch.append(
                replace(
                    record,
                    deployment_id=dice.choice([None, deployment.prefect_id]),
                    state=StateRecord(uuid4(), state_type, state_type, "", at),
                    run_count=1,
                    ended_at=dice.choice([None, at, at + timedelta(hours=1)]),
                    total_run_seconds=dice.choice([0.0, 1.0005, 61.25, dice.random() * 1000]),
                )
            )
        mirror.upsert(dev, batch)
        assert kept() == counted()
        assert_that_days_are_sums_of_hours()
    assert kept()
    before = kept()
    mirror.rebuild_counts(dev)
    assert kept() == before
    assert_that_days_are_sums_of_hours()


def test_a_run_that_is_retried_and_fails_is_counted_once(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    record = fake.add_run(deployment.prefect_id, state_type="COMPLETED")
    mirror.sync(dev)
    assert [(row.state_type, row.number) for row in RunCount.objects.all()] == [("COMPLETED", 1)]
    fake.set_state(record.id, "RUNNING")
    mirror.sync(dev)
    assert not RunCount.objects.exists()
    fake.set_state(record.id, "FAILED")
    for _ in range(2):
        mirror.sync(dev)
    assert [(row.state_type, row.number) for row in RunCount.objects.all()] == [("FAILED", 1)]


def test_a_run_that_is_deleted_in_prefect_stays_counted(
    deployment: Deployment, fake: FakePrefect, dev: Environment
) -> None:
    record = fake.add_run(deployment.prefect_id, state_type="COMPLETED")
    mirror.sync(dev)
    fake.remove_run(record.id)
    mirror.refresh(dev, [record.id])
    assert Run.objects.get().deleted_upstream_at
    assert RunCount.objects.get().number == 1
    assert_that_days_are_sums_of_hours()


@pytest.mark.parametrize("seconds", [math.inf, math.nan, -5.0])
def test_a_duration_that_is_none_does_not_stop_the_sync(dev: Environment, seconds: float) -> None:
    state = StateRecord(uuid4(), "COMPLETED", "Completed", "", BEGIN)
    mirror.upsert(dev, [records.flow_run(state=state, ended_at=BEGIN, total_run_seconds=seconds)])
    assert RunCount.objects.get().number == 1


def test_an_hour_begins_in_the_portals_time_zone(dev: Environment, settings: Any) -> None:
    settings.TIME_ZONE = "Asia/Kolkata"
    state = StateRecord(uuid4(), "COMPLETED", "Completed", "", BEGIN)
    for minutes in (29, 31):
        ended_at = BEGIN + timedelta(hours=18, minutes=minutes)
        mirror.upsert(dev, [records.flow_run(state=state, ended_at=ended_at)])
    # Midnight there is 18:30 here.
    assert [f"{row.hour:%H:%M}" for row in RunCount.objects.order_by("hour")] == ["17:30", "18:30"]
    # Their day is that of UTC, in which they begin.
    assert_that_days_are_sums_of_hours()
