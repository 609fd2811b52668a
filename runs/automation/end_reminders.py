"""Notify the owners of hooks, event rules and chains that end soon, once for each end. Schedules remind theirs."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from runs import events
from runs.automation import chains, event_rules, hooks
from runs.automation.ends import REMIND_BEFORE
from runs.models import Chain, EventRule, Hook, RunEvent

# Rows that one call handles.
MOST_AT_ONCE = 500


def remind() -> None:
    """Record an event for each that ends within a week and has not been named before. Called every minute."""
    due = {"valid_until__lte": timezone.now() + REMIND_BEFORE, "reminded_at": None, "is_enabled": True}
    of_deployment = "deployment__environment"
    remind_each(Hook.objects.filter(**due).select_related(of_deployment), hooks.note_reminders)
    rules = EventRule.objects.filter(**due, deleted_at=None)
    remind_each(rules.select_related(of_deployment), event_rules.note_reminders)
    remind_each(Chain.objects.filter(**due).select_related("environment"), chains.note_reminders)


@transaction.atomic
def remind_each(rows: QuerySet[Any], note: Callable[[Collection[int]], int]) -> None:
    # Locked: of two processes the second finds none of them.
    locked = rows.select_for_update(of=["self"], skip_locked=True)
    found = list(locked.order_by("pk")[:MOST_AT_ONCE])
    if found:
        note([row.pk for row in found])
        for row in found:
            record(row)


def record(row: Hook | EventRule | Chain) -> None:
    facts = {"kind": row._meta.model_name, "pk": row.pk, "name": row.name, "until": row.valid_until.isoformat()}
    environment = row.environment if isinstance(row, Chain) else row.deployment.environment
    events.record(RunEvent.Kind.AUTOMATION_ENDING, environment=environment, data=facts)
