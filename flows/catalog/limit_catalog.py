"""Global concurrency limits. The only code that writes `GlobalLimit`."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import transaction
from django.utils import timezone

from flows.catalog import health
from flows.db_text import sanitize_json
from flows.models import Environment, GlobalLimit
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError

# When a limit was read that Prefect never had.
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
COLUMNS = [f.name for f in GlobalLimit._meta.concrete_fields if f.name not in {"id", "environment", "name"}]


def sync(environment: Environment) -> bool:
    """Read the limits; return whether they could be read. Why not is in the health of the server.

    A server, or a credential, can refuse this list alone: then the rows stay as they were last read.
    """
    try:
        refresh(environment)
    except PrefectError as error:
        health.record_limits(environment, None, str(error))
        return False
    return True


def reserve(environment: Environment, name: str) -> GlobalLimit:
    """Lock and return the row of a limit, for the action that creates it; a new one is marked as not in Prefect."""
    nothing = {"concurrency_limit": 0, "synced_at": NEVER, "deleted_upstream_at": timezone.now()}
    row, _ = GlobalLimit.objects.get_or_create(environment=environment, name=name, defaults=nothing)
    return lock(row)


def lock(limit: GlobalLimit) -> GlobalLimit:
    """Lock the row of a limit and return it as it is now."""
    rows = GlobalLimit.objects.select_related("environment__server").select_for_update(of=["self"])
    return rows.get(pk=limit.pk)


def refresh(environment: Environment) -> None:
    """Sync the limits of an environment, such as after one was changed. Raises `PrefectError`.

    An environment with a scope of its server has none: they limit the runs of the whole server.
    """
    now = timezone.now()
    records = [] if environment.is_scoped else connect.client_for(environment.server).global_limits()
    with transaction.atomic():
        Environment.objects.select_for_update().get(pk=environment.pk)
        # A later reading was written: this one would bring back old values.
        if GlobalLimit.objects.filter(environment=environment, synced_at__gt=now).exists():
            return
        rows = [
            GlobalLimit(
                environment=environment,
                prefect_id=record.id,
                name=record.name,
                concurrency_limit=record.concurrency_limit,
                active_slots=record.active_slots,
                is_active=record.is_active,
                slot_decay_per_second=record.slot_decay_per_second,
                synced_at=now,
            )
            for record in records
        ]
        GlobalLimit.objects.bulk_create(
            map(sanitize_json, rows),
            update_conflicts=True,
            unique_fields=["environment", "name"],
            update_fields=COLUMNS,
        )
        GlobalLimit.current.filter(environment=environment, synced_at__lt=now).update(deleted_upstream_at=now)
        health.record_limits(environment, now, "")
