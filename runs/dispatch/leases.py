"""Leases and retry backoff for calls that change something in Prefect."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.db.models import F, Q
from django.utils import timezone

from runs.models import Cancellation, PauseRequest

# Longer than the gateway waits for an answer: a claim that old belongs to a process that died.
LEASE = timedelta(seconds=30)
SHORTEST, LONGEST = timedelta(seconds=2), timedelta(minutes=1)


def backoff(attempts: int) -> timedelta:
    """2 s, 4 s, 8 s … up to a minute: when to try again after that many attempts."""
    doublings: int = min(max(attempts - 1, 0), 10)
    return min(SHORTEST * (1 << doublings), LONGEST)


def take_lease(rows: Any) -> bool:
    """Take the lease on one due row; False when another worker holds it or it is done."""
    now = timezone.now()
    due = rows.filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=now))
    return bool(due.update(attempts=F("attempts") + 1, next_attempt_at=now + LEASE))


def record_attempt(row: Cancellation | PauseRequest, message: str, *, at: datetime) -> None:
    type(row)._default_manager.filter(pk=row.pk).update(message=message, next_attempt_at=at)
