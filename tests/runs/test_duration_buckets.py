"""Percentiles from buckets are those of the durations, within the promised error."""

from __future__ import annotations

import random
from collections import Counter
from math import ceil

import pytest
from django.db import connection

from runs.duration_buckets import ERROR, bucket_of, percentile, seconds_of, sql_bucket_of


def test_the_promised_error_is_at_most_a_tenth() -> None:
    assert ERROR <= 0.1


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [0.5, 0.95, 0.99, 1.0])
def test_a_percentile_is_that_of_the_durations_within_the_error(seed: int, share: float) -> None:
    dice = random.Random(seed)
    # From a millisecond to a week, in one list and in a narrow one.
    for spread in (20.0, 0.5):
        durations = sorted(0.001 * 2.718 ** (dice.random() * spread) for _ in range(dice.randint(1, 500)))
        exact = durations[ceil(share * len(durations)) - 1]
        found = percentile(Counter(bucket_of(seconds * 1000) for seconds in durations), share)
        assert found is not None
        assert abs(found - exact) <= exact * ERROR * 1.000001


def test_without_runs_there_is_no_percentile() -> None:
    assert percentile({}, 0.5) is None


def test_what_takes_less_than_a_millisecond_takes_no_time() -> None:
    assert bucket_of(0) == bucket_of(0.99) == 0
    assert percentile({0: 3}, 0.95) == 0.0


def test_buckets_are_longer_the_higher_their_number() -> None:
    durations = [seconds_of(bucket) for bucket in range(200)]
    assert durations == sorted(durations)
    assert [bucket_of(seconds * 1000) for seconds in durations] == list(range(200))


@pytest.mark.django_db
def test_postgres_finds_the_same_buckets() -> None:
    dice = random.Random(7)
    durations = [0.0, 0.5, 1.0, 1e15, *(10 ** (dice.random() * 15) for _ in range(500))]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {sql_bucket_of('ms')} FROM unnest(%s::float8[]) AS ms", [durations])
        assert [row[0] for row in cursor.fetchall()] == [bucket_of(each) for each in durations]
