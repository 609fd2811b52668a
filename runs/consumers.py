"""What reacts to events: the consumers by name."""

from __future__ import annotations

from typing import Any

from django.db.models import Q

from runs import events, failures
from runs.automation import chain_steps, happenings, rule_firing
from runs.events import Consumer
from runs.models import EventCursor, FailedEvent, RunEvent
from runs.models.run import FAILED, TERMINAL
from runs.notifications import from_events, run_ends

# The key of the cursor: a renamed consumer starts at the newest event.
CONSUMERS: dict[str, Consumer] = {
    "notifications": Consumer(from_events.notify_of, from_events.NOTICES.keys()),
    "notifications of ends": Consumer(
        run_ends.notify_of_end,
        run_ends.EVENTS,
        run_ends.notify_of_ends,
        only=Q(data__state__in=sorted(TERMINAL)),
    ),
    "chains": Consumer(chain_steps.queue_advance, chain_steps.EVENTS),
    "event rules": Consumer(rule_firing.match_one, happenings.TRIGGERS.keys(), rule_firing.match),
    "failures": Consumer(
        failures.note,
        (RunEvent.Kind.RUN_APPEARED, RunEvent.Kind.RUN_MOVED),
        only=Q(data__state__in=sorted(FAILED)),
    ),
}


def deliver() -> None:
    """Have every consumer handle what is new."""
    events.deliver(CONSUMERS)


def status() -> list[dict[str, Any]]:
    """Return for each consumer how many events it has to go through, and those that it could not handle."""
    cursors = {each.name: each.position for each in EventCursor.objects.filter(name__in=CONSUMERS)}
    return [
        {
            "consumer": name,
            "behind": events.head() - cursors.get(name, events.head()),
            "set_aside": [
                f"{each.event_id}: {each.error}"
                for each in FailedEvent.objects.filter(consumer=name, is_set_aside=True).order_by("event_id")
            ],
        }
        for name in CONSUMERS
    ]


def retry_set_aside() -> None:
    """Have the events that were set aside handled once more, oldest first."""
    for failure in FailedEvent.objects.filter(consumer__in=CONSUMERS, is_set_aside=True).order_by("event_id"):
        events.retry(failure, CONSUMERS[failure.consumer])
