"""The rows of global concurrency limits: the only code that writes `GlobalLimit`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from django.utils import timezone

from flows.db_text import sanitize_json
from flows.models import Environment, GlobalLimit

# When a limit was read that Prefect never had.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = [f.name for f in GlobalLimit._meta.concrete_fields if f.name not in {"id", "environment", "name"}]


def reserve(environment: Environment, name: str) -> GlobalLimit:
    """Lock and return the row of a limit, for the action that creates it; a new one is marked as not in Prefect."""
    nothing = {"concurrency_limit": 0, "synced_at": NEVER, "deleted_upstream_at": timezone.now()}
    row, _ = GlobalLimit.objects.get_or_create(environment=environment, name=name, defaults=nothing)
    return lock(row)


def lock(limit: GlobalLimit) -> GlobalLimit:
    """Lock the row of a limit and return it as it is now."""
    rows = GlobalLimit.objects.select_related("environment__server").select_for_update(of=["self"])
    return rows.get(pk=limit.pk)


def store(environment: Environment, rows: Iterable[GlobalLimit], now: datetime) -> bool:
    """Store what was read of an environment at `now`, in the current transaction; return whether nothing newer was."""
    Environment.objects.select_for_update().get(pk=environment.pk)
    # A later reading was written: this one would bring back old values.
    if GlobalLimit.objects.filter(environment=environment, synced_at__gt=now).exists():
        return False
    GlobalLimit.objects.bulk_create(
        map(sanitize_json, rows), update_conflicts=True, unique_fields=["environment", "name"], update_fields=COLUMNS
    )
    GlobalLimit.current.filter(environment=environment, synced_at__lt=now).update(deleted_upstream_at=now)
    return True
