"""Leases and retry backoff for calls that change something in Prefect."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import F, Q
from django.utils import timezone

from runs.models import Action
from runs.models.action import OPEN

# Longer than the client's timeout: a lease that old belongs to a process that died. Shorter than `queue.LEASE`, so that
# the task that is taken again after a kill finds its row due. A call that takes longer is not repeated beside it: the
# queue runs a task once at a time.
LEASE = timedelta(seconds=14)
# Prefect on SQLite answers about 1 in 20 creates with 503, so the first retry comes soon.
SHORTEST, LONGEST = timedelta(seconds=2), timedelta(minutes=1)

# How long what makes a schedule active waits for the end of a freeze, before it looks again.
FROZEN = timedelta(minutes=1)


def backoff(attempts: int) -> timedelta:
    """Return the delay after that many attempts: 2 s, 4 s, 8 s and so on, up to a minute."""
    doublings: int = min(max(attempts - 1, 0), 10)
    return min(SHORTEST * (1 << doublings), LONGEST)


def take_lease(action: Action) -> bool:
    """Take the lease on an action that is due; False when another worker holds it or it is settled."""
    now = timezone.now()
    # One UPDATE both checks and takes it, so no row lock is held during the call to Prefect.
    due = Action.objects.filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=now), pk=action.pk, state__in=OPEN)
    return bool(due.update(attempts=F("attempts") + 1, next_attempt_at=now + LEASE))


def record_attempt(action: Action, message: str, *, at: datetime) -> None:
    """Note an attempt that did not finish, and when the next is due."""
    Action.objects.filter(pk=action.pk, state__in=OPEN).update(message=message, next_attempt_at=at)
