"""Deliveries of messages: the only code that writes `Delivery`, and what became of the last attempts at a `Channel`.

All deliveries to one address are a lane: a channel, or email. A lane is one task, which the queue never runs twice at a
time, so that an address that does not answer holds up no other. A row is leased before it is sent; a process that is
killed leaves it to the next one, which sends it again with the same key, because the other side may have received it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Exists, F, Q, QuerySet
from django.utils import timezone

from runs import queue
from runs.errors import Refused
from runs.models import Channel, Delivery, Notification

# The lane of email; that of a channel is its key.
EMAIL = 0
# Shorter than `queue.LEASE`, so that the task that is taken again after a kill finds its row due. A conversation that
# takes longer is not repeated beside it: the queue runs a task once at a time.
LEASE = timedelta(seconds=14)
# After 1, 2, 4, 8 and 16 minutes: half an hour in all, then the message is of little use.
MOST_ATTEMPTS = 6
FIRST_WAIT = timedelta(minutes=1)
# Between two attempts at a channel that does not answer, and how long one may ask to be left alone.
LONGEST_WAIT, LONGEST_REST = timedelta(minutes=16), timedelta(hours=6)
# What could not be sent for so long is not sent later.
LONGEST_DELAY = timedelta(hours=24)
TASK = "runs.tasks.send_deliveries"

State = Delivery.State


def add(wanted: Iterable[tuple[Notification, Channel | None, datetime | None]]) -> None:
    """Store deliveries and queue their lanes: a message, a channel or None for email, and before when it waits."""
    now = timezone.now()
    rows = Delivery.objects.bulk_create(
        # What is held counts as queued when it may be sent: until then it does not grow old.
        Delivery(notification=notice, channel=channel, next_attempt_at=at, queued_at=at or now)
        for notice, channel, at in wanted
    )
    # What is held is found when it is due.
    for lane in dict.fromkeys(row.channel_id or EMAIL for row in rows if row.next_attempt_at is None):
        queue.enqueue(TASK, lane)


def replay(delivery: Delivery) -> None:
    """Queue a delivery that was settled once more, with the key that it has."""
    settled = Delivery.objects.filter(pk=delivery.pk).exclude(state=State.WANTED)
    columns = {"attempts": 0, "next_attempt_at": None, "queued_at": timezone.now(), "message": ""}
    if not settled.update(state=State.WANTED, **columns):
        raise Refused("delivery.queued", "The message is queued already.")
    queue.enqueue(TASK, delivery.channel_id or EMAIL)


# What is due ----------------------------------------------------------------------------------------------------------


def open_rows(now: datetime) -> QuerySet[Delivery]:
    """Return the rows that are due: null is one that was not attempted yet. An address that rests has none."""
    is_awake = Q(channel__next_attempt_at=None) | Q(channel__next_attempt_at__lte=now)
    is_mail_awake = Q(channel__isnull=False) | ~Exists(unreached_emails().filter(next_attempt_at__gt=now))
    return due(now).filter(is_awake, is_mail_awake)


def unreached_emails() -> QuerySet[Delivery]:
    """Return the emails whose last attempt reached no mail server: until the next one, no other email is tried.

    What the server answered, and refused, has a status.
    """
    emails = Delivery.objects.filter(channel=None, state=State.WANTED, attempts__gt=0, status=None)
    return emails.exclude(message="").order_by()


def is_suspect(channel: Channel | None) -> bool:
    """Return whether an address could not be reached the last time; None is the mail server."""
    return channel.failures > 0 if channel else unreached_emails().exists()


def due(now: datetime) -> QuerySet[Delivery]:
    return Delivery.objects.filter(Q(next_attempt_at=None) | Q(next_attempt_at__lte=now), state=State.WANTED)


def due_lanes() -> list[int]:
    """Return the lanes in which something is due: retries, and what a killed process left."""
    rows = open_rows(timezone.now()).order_by()
    return [pk or EMAIL for pk in rows.values_list("channel", flat=True).distinct()]


def first_due(lane: int) -> Delivery | None:
    rows = open_rows(timezone.now()).filter(channel=lane or None)
    return rows.select_related("notification__person", "notification__environment").order_by("pk").first()


@transaction.atomic
def claim_email(first: Delivery, person: User, most: int) -> list[Delivery]:
    """Claim a message and up to `most` others that are sent with it in one email; return all, the oldest first.

    An email that is repeated has the same messages as the first time, because it has the same id.
    """
    if not claim(first):
        return []
    emails = Delivery.objects.filter(channel=None, state=State.WANTED).exclude(pk=first.pk)
    if first.email is None:
        first.email = first.key
        others = due(timezone.now()).filter(pk__in=emails.filter(email=None, notification__person=person))
        others = others.order_by("pk")[:most]
    else:
        others = emails.filter(email=first.email)
    keys = [first.pk, *others.values_list("pk", flat=True)]
    Delivery.objects.filter(pk__in=keys[1:]).update(attempts=F("attempts") + 1, next_attempt_at=first.next_attempt_at)
    Delivery.objects.filter(pk__in=keys).update(email=first.email)
    rows = Delivery.objects.filter(pk__in=keys).select_related("notification__person", "notification__environment")
    return list(rows.order_by("pk"))


def claim(delivery: Delivery) -> bool:
    """Take the lease of a row in one UPDATE, and read it; return whether it was free."""
    now = timezone.now()
    if not due(now).filter(pk=delivery.pk).update(attempts=F("attempts") + 1, next_attempt_at=now + LEASE):
        return False
    delivery.refresh_from_db(fields=["attempts", "next_attempt_at"])
    return True


# What came of it ------------------------------------------------------------------------------------------------------


def postpone(
    delivery: Delivery,
    message: str,
    *,
    is_final: bool = False,
    rest: timedelta | None = None,
    status: int | None = None,
    answer: str = "",
) -> None:
    """Schedule a retry, not before the other side wants one; unless it is final or the attempts are used up."""
    if is_final or delivery.attempts >= MOST_ATTEMPTS:
        settle(delivery, State.FAILED, message, status=status, answer=answer)
        return
    # Doubles with each attempt.
    wait = max(FIRST_WAIT * (1 << (delivery.attempts - 1)), min(rest or FIRST_WAIT, LONGEST_REST))
    Delivery.objects.filter(pk=delivery.pk).update(
        message=f"{message} Retrying.", next_attempt_at=timezone.now() + wait, status=status, answer=answer
    )


def settle(delivery: Delivery, state: str, message: str = "", *, status: int | None = None, answer: str = "") -> None:
    """Record the final state of a delivery."""
    sent_at = timezone.now() if state == State.SENT else None
    Delivery.objects.filter(pk=delivery.pk).update(
        state=state, message=message, next_attempt_at=None, sent_at=sent_at, status=status, answer=answer
    )


def fail_old(lane: int) -> None:
    """Fail what could not be sent for too long."""
    rows = Delivery.objects.filter(channel=lane or None, state=State.WANTED)
    old = rows.filter(queued_at__lt=timezone.now() - LONGEST_DELAY)
    old.update(state=State.FAILED, message="It could not be sent for 24 hours.", next_attempt_at=None)


def fail_all(channel: Channel) -> None:
    """Fail what is queued for a channel that is disabled."""
    rows = Delivery.objects.filter(channel=channel, state=State.WANTED)
    rows.update(state=State.FAILED, message="The channel was disabled.", next_attempt_at=None)


def note_answer(channel: Channel) -> None:
    """Record that a channel can be reached."""
    if channel.failures:
        Channel.objects.filter(pk=channel.pk).update(failures=0, next_attempt_at=None)


def back_off(channel: Channel, rest: timedelta | None) -> None:
    """Leave a channel alone for a while, longer each time, or as long as the other side wants."""
    wait = min(FIRST_WAIT * (1 << min(channel.failures, 10)), LONGEST_WAIT)
    wait = max(wait, min(rest or wait, LONGEST_REST))
    Channel.objects.filter(pk=channel.pk).update(failures=F("failures") + 1, next_attempt_at=timezone.now() + wait)
