"""Notify the owners of hooks and event rules that end soon, once for each end. Schedules remind theirs themselves."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from runs import events
from runs.automation import event_rules, hooks
from runs.automation.ends import REMIND_BEFORE
from runs.models import EventRule, Hook, RunEvent

# Rows that one call handles.
MOST_AT_ONCE = 500


def remind() -> None:
    """Record an event for each that ends within a week and has not been named before. Called every minute."""
    due = {"valid_until__lte": timezone.now() + REMIND_BEFORE, "reminded_at": None, "is_enabled": True}
    remind_each(Hook.objects.filter(**due), hooks.note_reminders)
    remind_each(EventRule.objects.filter(**due, deleted_at=None), event_rules.note_reminders)


@transaction.atomic
def remind_each(rows: QuerySet[Any], note: Callable[[Collection[int]], int]) -> None:
    # Locked: of two processes the second finds none of them.
    locked = rows.select_related("deployment__environment").select_for_update(of=["self"], skip_locked=True)
    found = list(locked.order_by("pk")[:MOST_AT_ONCE])
    if found:
        note([row.pk for row in found])
        for row in found:
            record(row)


def record(row: Hook | EventRule) -> None:
    facts = {"kind": row._meta.model_name, "pk": row.pk, "name": row.name, "until": row.valid_until.isoformat()}
    events.record(RunEvent.Kind.AUTOMATION_ENDING, environment=row.deployment.environment, data=facts)
