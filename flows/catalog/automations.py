"""Automations that start runs. The only code that writes `Automation`."""

from __future__ import annotations

from django.db import transaction
from django.utils import timezone

from flows.catalog import health
from flows.db_text import sanitize_json
from flows.models import Automation, Environment
from flows.prefect_api import connect
from flows.prefect_api.records import PrefectError

COLUMNS = [f.name for f in Automation._meta.concrete_fields if f.name not in {"id", "environment", "prefect_id"}]


def sync(environment: Environment) -> bool:
    """Read the automations; return whether they could be read. Why not is in the health of the server.

    A server, or a credential, can refuse this list alone: then the rows stay as they were last read.
    """
    now = timezone.now()
    try:
        records = connect.client_for(environment.server).automations()
    except PrefectError as error:
        health.record_automations(environment, now, str(error))
        return False
    rows = [
        Automation(
            environment=environment,
            prefect_id=record.id,
            name=record.name,
            is_enabled=record.is_enabled,
            starts=[{"action": start.action, "deployment": str(start.deployment_id or "")} for start in record.starts],
            synced_at=now,
        )
        for record in records
        if record.starts
    ]
    with transaction.atomic():
        Environment.objects.select_for_update().get(pk=environment.pk)
        Automation.objects.bulk_create(
            [sanitize_json(row) for row in rows],
            update_conflicts=True,
            unique_fields=["environment", "prefect_id"],
            update_fields=COLUMNS,
        )
        Automation.objects.filter(environment=environment, synced_at__lt=now).delete()
        health.record_automations(environment, now, "")
    return True
