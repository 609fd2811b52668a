"""Events: the only code that writes `RunEvent`, `EventCursor` and `FailedEvent`.

An event is written in the transaction of its fact. Ids are taken before the commit, so a reader that remembers the last
id would lose an event whose transaction commits late. Therefore a relay gives each event its position after the commit,
and consumers remember positions.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.db import connection, transaction
from django.db.models import Q
from django.utils import timezone

from flows.db_text import strip_control
from flows.models import Environment
from runs import queue
from runs.change_feed import publish
from runs.models import ChangeRequest, EventCursor, FailedEvent, RunEvent, RunRequest

log = logging.getLogger(__name__)

RELAY = "relay"
# Rows of one transaction.
RELAYED_AT_ONCE = 5_000
HANDLED_AT_ONCE = 100
FORGOTTEN_AT_ONCE = 500
MOST_TRIES = 3
RETRY_AFTER = timedelta(seconds=10)

ASSIGN = """
    WITH first AS (SELECT id FROM runs_runevent WHERE position IS NULL ORDER BY id LIMIT %(limit)s),
    numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS place FROM first)
    UPDATE runs_runevent AS event SET position = %(head)s + numbered.place
    FROM numbered WHERE event.id = numbered.id
"""


@dataclass(frozen=True, slots=True)
class Consumer:
    """What reacts to events of some kinds. `handle` writes rows only, in the transaction that moves the cursor.

    `handle_together` does the same for a batch, for what is cheaper read together: if it fails, none of the batch was
    handled, and each event is by `handle`, so that one that fails holds up no others. `only` narrows the
    events down: each that is handled costs a savepoint, and runs move often.
    """

    handle: Callable[[RunEvent], None]
    kinds: Collection[str]
    handle_together: Callable[[Sequence[RunEvent]], None] | None = None
    only: Q = field(default_factory=Q)


def record(
    kind: RunEvent.Kind,
    *,
    environment: Environment | None = None,
    change: ChangeRequest | None = None,
    run_request: RunRequest | None = None,
    data: Mapping[str, Any] | None = None,
    is_history: bool = False,
) -> None:
    """Write one event of now, in the current transaction: about a request, its run, an environment, or several."""
    row = RunEvent(kind=kind, data=data or {}, is_history=is_history)
    if environment:
        row.environment_id = environment.pk
    if change:
        row.change_id, row.environment_id = change.pk, change.environment_id
        run_request = change.run_request if change.kind == ChangeRequest.Kind.RUN else None
    if run_request:
        row.change_id = run_request.change_id
        row.request_id, row.run_id = run_request.pk, run_request.run_id
        row.environment_id, row.deployment_id = run_request.environment_id, run_request.deployment_id
    record_many([row])


def record_each(kind: RunEvent.Kind, run_requests: Sequence[RunRequest]) -> None:
    """Write one event of now for each of these requests, in the current transaction."""
    record_many(
        [
            RunEvent(
                kind=kind,
                change_id=each.change_id,
                request_id=each.pk,
                run_id=each.run_id,
                environment_id=each.environment_id,
                deployment_id=each.deployment_id,
                data={},
            )
            for each in run_requests
        ]
    )


def record_many(rows: Sequence[RunEvent]) -> None:
    """Write events in the current transaction, and have them delivered after its commit."""
    if not rows:
        return
    for row in rows:
        row.data = strip_control(dict(row.data))
    RunEvent.objects.bulk_create(rows, batch_size=RELAYED_AT_ONCE)
    queue.enqueue("runs.tasks.deliver_events")


def deliver(consumers: Mapping[str, Consumer]) -> None:
    """Give new events their positions, and have each consumer handle what it has not handled yet."""
    # Before the relay: what a first delivery finds is new to all consumers, what was there before a new one is not.
    for name in consumers.keys() - reached().keys():
        EventCursor.objects.get_or_create(name=name, defaults={"position": head()})
    if RunEvent.objects.filter(position=None).exists():
        while relay() == RELAYED_AT_ONCE:
            pass
    # Called every few seconds, mostly for nothing: only those that have something to do are asked.
    positions = reached()
    retrying = set(FailedEvent.objects.filter(is_set_aside=False).values_list("consumer", flat=True))
    for name, consumer in consumers.items():
        if positions[name] < positions.get(RELAY, 0) or name in retrying:
            while consume(name, consumer):
                pass


def reached() -> dict[str, int]:
    """Return how far each consumer and the relay are, by name."""
    return dict(EventCursor.objects.values_list("name", "position"))


def head() -> int:
    """Return the last position that was assigned."""
    return EventCursor.objects.filter(name=RELAY).values_list("position", flat=True).first() or 0


@transaction.atomic
def relay() -> int:
    """Give the first committed events without one a position, in the order of their ids; return how many."""
    EventCursor.objects.get_or_create(name=RELAY)
    # The row is the lock: the next relay reads its events after this one has committed.
    cursor = EventCursor.objects.select_for_update().get(name=RELAY)
    with connection.cursor() as database:
        database.execute(ASSIGN, {"limit": RELAYED_AT_ONCE, "head": cursor.position})
        count: int = database.rowcount
    if count:
        cursor.position += count
        cursor.save()
        # For who follows them over HTTP; delivered at the commit.
        publish("event", [cursor.position])
    return count


@transaction.atomic
def consume(name: str, consumer: Consumer) -> bool:
    """Handle the next events of a consumer; return whether there may be more.

    What it writes, its cursor and its failures are one transaction: a process that is killed repeats all of it or none.
    """
    # 1. The cursor is the lock. The head first: every event up to it is committed, with its position.
    cursor = EventCursor.objects.select_for_update().get(name=name)
    last = head()
    # What a first reading finds is history, to which nothing reacts.
    news = RunEvent.objects.filter(position__gt=cursor.position, position__lte=last, is_history=False)
    batch = list(news.filter(consumer.only, kind__in=consumer.kinds).order_by("position")[:HANDLED_AT_ONCE])
    failed = {each.event_id: each for each in FailedEvent.objects.filter(consumer=name, is_set_aside=False)}
    # 2. In order: an event that fails is tried again before those after it are handled.
    together = consumer.handle_together if batch and not failed else None
    is_done = together is not None and attempt_together(together, batch)
    for event in batch if not is_done else ():
        earlier = failed.get(event.pk)
        if earlier and earlier.tried_at + RETRY_AFTER > timezone.now():
            return move(cursor, before=event)
        if error := attempt(consumer, event):
            failure = note_failure(name, event, error, earlier)
            if not failure.is_set_aside:
                return move(cursor, before=event)
        elif earlier:
            earlier.delete()
    # 3. Up to the head, where no event of these kinds is left.
    is_full = len(batch) == HANDLED_AT_ONCE
    cursor.position = place_of(batch[-1]) if is_full else last
    cursor.save()
    return is_full


def move(cursor: EventCursor, *, before: RunEvent) -> bool:
    """Move the cursor to just before an event that has to be tried again; return that there is no more to do now."""
    cursor.position = place_of(before) - 1
    cursor.save()
    return False


def place_of(event: RunEvent) -> int:
    """Return the position of an event that was read by it."""
    if event.position is None:
        raise ValueError(f"Event {event.pk} has no position yet.")
    return event.position


def attempt(consumer: Consumer, event: RunEvent) -> Exception | None:
    """Have the event handled, all of it or nothing; return the error that prevented it."""
    try:
        with transaction.atomic():
            consumer.handle(event)
    except Exception as error:
        return error
    return None


def attempt_together(handle: Callable[[Sequence[RunEvent]], None], batch: Sequence[RunEvent]) -> bool:
    """Have a batch handled, all of it or nothing; return whether it was."""
    try:
        with transaction.atomic():
            handle(batch)
    except Exception as error:
        log.warning("A batch of %d events is handled one by one: %s.", len(batch), describe(error))
        return False
    return True


def note_failure(name: str, event: RunEvent, error: Exception, earlier: FailedEvent | None) -> FailedEvent:
    """Record a failed attempt; the last one sets the event aside, so that the consumer can go on."""
    failure = earlier or FailedEvent(consumer=name, event_id=event.pk)
    failure.tries += 1
    failure.tried_at = timezone.now()
    failure.error = describe(error)
    failure.is_set_aside = failure.tries >= MOST_TRIES
    failure.save()
    log.error(
        "%s could not handle event %d (%s), attempt %d of %d: %s.%s",
        name,
        event.pk,
        event.kind,
        failure.tries,
        MOST_TRIES,
        failure.error,
        " It is set aside: see “manage.py events”." if failure.is_set_aside else "",
    )
    return failure


def describe(error: Exception) -> str:
    """Return the kind of error and where it was raised; its text may contain anything."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"[:200]


@transaction.atomic
def retry(failure: FailedEvent, consumer: Consumer) -> None:
    """Have a consumer handle an event that was set aside once more."""
    # Locked: two people who do this at once must not have it handled twice.
    locked = FailedEvent.objects.select_for_update().filter(pk=failure.pk).first()
    if locked is None:
        return
    event = RunEvent.objects.filter(pk=locked.event_id).first()
    error = attempt(consumer, event) if event else None
    if event and error:
        note_failure(locked.consumer, event, error, locked)
    else:
        locked.delete()


def forget(environment: Environment | None, before: datetime, consumers: Collection[str]) -> bool:
    """Delete the first old events that every consumer has handled, and none has set aside; return whether some were.

    Without an environment: those that are about several.
    """
    positions = EventCursor.objects.filter(name__in=consumers).values_list("position", flat=True)
    handled = RunEvent.objects.filter(
        environment_id=environment.pk if environment else None,
        observed_at__lt=before,
        position__lte=min(positions, default=0),
    ).exclude(pk__in=FailedEvent.objects.values("event_id"))
    pks = list(handled.order_by("pk").values_list("pk", flat=True)[:FORGOTTEN_AT_ONCE])
    return bool(RunEvent.objects.filter(pk__in=pks).delete()[0])
