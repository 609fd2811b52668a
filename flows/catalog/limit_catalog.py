"""Reads the global concurrency limits of a Prefect server."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from flows.catalog import health, limit_rows
from flows.models import Environment, GlobalLimit
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError


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
    with transaction.atomic():
        if limit_rows.store(environment, rows, now):
            health.record_limits(environment, now, "")
