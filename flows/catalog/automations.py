"""Automations that start runs. The only code that writes `Automation`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from flows.catalog import health
from flows.catalog.sync import locked_together
from flows.db_text import sanitize_json
from flows.models import Automation, Deployment, Environment
from flows.prefect_api import connect
from flows.prefect_api.records import AutomationRecord, PrefectError

COLUMNS = [f.name for f in Automation._meta.concrete_fields if f.name not in {"id", "environment", "prefect_id"}]


def sync(environment: Environment) -> bool:
    """Read the automations; return whether they could be read. Why not is in the health of the server.

    A server, or a credential, can refuse this list alone: then the rows stay as they were last read. Each environment
    that has a scope of the server has those that start its deployments, or any that their events name.
    """
    now = timezone.now()
    try:
        records = connect.client_for(environment.server).automations()
    except PrefectError as error:
        health.record_automations(environment, now, str(error))
        return False
    with transaction.atomic():
        for each in locked_together(environment):
            store(each, records, now)
        health.record_automations(environment, now, "")
    return True


def store(environment: Environment, records: Sequence[AutomationRecord], now: datetime) -> None:
    """Replace the automations of an environment."""
    kept = {record.id: list(record.starts) for record in records}
    if environment.is_scoped:
        here = Deployment.objects.filter(environment=environment, deleted_upstream_at=None)
        deployed = {None, *here.values_list("prefect_id", flat=True)}
        kept = {pk: [start for start in starts if start.deployment_id in deployed] for pk, starts in kept.items()}
    rows = [
        Automation(
            environment=environment,
            prefect_id=record.id,
            name=record.name,
            is_enabled=record.is_enabled,
            starts=[
                {"action": start.action, "deployment": str(start.deployment_id or "")} for start in kept[record.id]
            ],
            synced_at=now,
        )
        for record in records
        if kept[record.id]
    ]
    Automation.objects.bulk_create(
        [sanitize_json(row) for row in rows],
        update_conflicts=True,
        unique_fields=["environment", "prefect_id"],
        update_fields=COLUMNS,
    )
    Automation.objects.filter(environment=environment, synced_at__lt=now).delete()
