"""Durations in logarithmic buckets: percentiles of any number of runs from a few rows.

A bucket is named by a duration that every duration in it is within `ERROR` of, so that a percentile is too. Shorter
than a millisecond is bucket 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil, floor, log, sqrt

# Bucket n holds the durations from RATIO ** (n - 1) milliseconds up to RATIO times that.
RATIO = 1.2
# How far a duration can be from the middle of its bucket, as a share of the duration.
ERROR = sqrt(RATIO) - 1


def bucket_of(milliseconds: float) -> int:
    """Return the bucket of a duration."""
    return floor(log(milliseconds) / log(RATIO)) + 1 if milliseconds >= 1 else 0


def sql_bucket_of(milliseconds: str) -> str:
    """Return `bucket_of` as SQL; `milliseconds` is an expression of type float8 that is neither NaN nor negative."""
    return f"(CASE WHEN {milliseconds} < 1 THEN 0 ELSE floor(ln({milliseconds}) / {log(RATIO)!r}) + 1 END)::smallint"


def seconds_of(bucket: int) -> float:
    """Return the duration that stands for a bucket: the geometric middle of its bounds."""
    return RATIO ** (bucket - 0.5) / 1000 if bucket else 0.0


def percentile(numbers: Mapping[int, int], share: float) -> float | None:
    """Return the duration in seconds that `share` of the runs did not exceed; None without runs.

    `numbers` are the numbers of runs by bucket.
    """
    total = sum(numbers.values())
    if total <= 0:
        return None
    # Nearest rank: the first bucket at which this many runs are counted.
    rank, counted = ceil(share * total), 0
    for bucket in sorted(numbers):
        counted += numbers[bucket]
        if counted >= max(rank, 1):
            return seconds_of(bucket)
    raise AssertionError("The numbers of the buckets add up to their total.")
