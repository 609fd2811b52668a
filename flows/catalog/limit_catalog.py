"""Global concurrency limits. The only code that writes `GlobalLimit`."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from flows.catalog import health
from flows.db_text import sanitize_json
from flows.models import Environment, GlobalLimit
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError

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
