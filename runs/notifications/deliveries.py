"""Deliver messages: the only code that writes `Delivery`.

All deliveries to one address are a lane: a channel, or email. A lane is one task, which the queue never runs twice at a
time, so that an address that does not answer holds up no other. A row is leased before it is sent; a process that is
killed leaves it to the next one, which sends it again with the same key, because the other side may have received it.
"""

from __future__ import annotations

import smtplib
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import F, Q
from django.utils import timezone

from runs import queue
from runs.models import Channel, Delivery, Notification
from runs.notifications import mail

# The lane of email; that of a channel is its key.
EMAIL = 0
# Shorter than `queue.LEASE`, so that the task that is taken again after a kill finds its row due. A conversation that
# takes longer is not repeated beside it: the queue runs a task once at a time.
LEASE = timedelta(seconds=14)
# After 1, 2, 4, 8 and 16 minutes: half an hour in all, then the message is of little use.
MOST_ATTEMPTS = 6
FIRST_WAIT = timedelta(minutes=1)
# After so many seconds a task leaves the rest of its lane to a further one.
LONGEST_TURN = 8.0
TASK = "runs.tasks.send_deliveries"

State = Delivery.State


def add(notice: Notification, to: Iterable[Channel | None]) -> None:
    """Store the deliveries of a message and queue their lanes; None is an email to its person."""
    rows = Delivery.objects.bulk_create(Delivery(notification=notice, channel=channel) for channel in to)
    for row in rows:
        queue.enqueue(TASK, row.channel_id or EMAIL)


def due_lanes() -> list[int]:
    """Return the lanes in which something is due: retries, and what a killed process left."""
    rows = Delivery.objects.filter(is_due(timezone.now()), state=State.WANTED)
    return [pk or EMAIL for pk in rows.order_by().values_list("channel", flat=True).distinct()]


def is_due(now: datetime) -> Q:
    """Return the condition of what is due: null is a row that was not attempted yet."""
    return Q(next_attempt_at=None) | Q(next_attempt_at__lte=now)


def send_due(lane: int) -> bool:
    """Send what is due in a lane, oldest first; return whether there is more, for which there was no time."""
    started = time.monotonic()
    rows = Delivery.objects.filter(channel=lane or None, state=State.WANTED)
    while time.monotonic() - started < LONGEST_TURN:
        first = rows.filter(is_due(timezone.now())).order_by("pk").first()
        if first is None:
            return False
        # What cannot be reached now cannot be reached by the next one either: it waits for `requeue_due`.
        if claim(first) and not send_email(first):
            return False
    return True


def claim(delivery: Delivery) -> bool:
    """Take the lease of a row in one UPDATE, and read it; return whether it was free."""
    now = timezone.now()
    free = Delivery.objects.filter(is_due(now), pk=delivery.pk, state=State.WANTED)
    if not free.update(attempts=F("attempts") + 1, next_attempt_at=now + LEASE):
        return False
    delivery.refresh_from_db()
    return True


def send_email(delivery: Delivery) -> bool:
    """Send one email that was claimed; return whether the mail server could be reached."""
    person = delivery.notification.person
    # 1. Without an address or a server it fails for good.
    if person is None or not person.email:
        settle(delivery, State.FAILED, f"{person} has no email address.")
        return True
    if not settings.SENDS_MAIL:
        settle(delivery, State.FAILED, "No mail server is configured. Set PORTAL_MAIL_HOST.")
        return True
    # 2. Send it. A crash between sending and recording sends it again.
    try:
        mail.send(delivery.notification, person.email)
    except (OSError, smtplib.SMTPException) as error:
        message = f"The mail server {settings.SMTP['host']} did not accept it: {mail.error_label(error)}."
        postpone(delivery, message, is_final=mail.is_final(error))
        return isinstance(error, smtplib.SMTPResponseException | smtplib.SMTPRecipientsRefused)
    except ValueError as error:
        # An address or text that is not allowed in an email will not be allowed next time either.
        settle(delivery, State.FAILED, f"Invalid email to “{person.email}”: {error}")
    else:
        settle(delivery, State.SENT, "", sent_at=timezone.now())
    return True


def postpone(delivery: Delivery, message: str, *, is_final: bool) -> None:
    """Schedule a retry, unless the error is permanent or the attempts are used up."""
    if is_final or delivery.attempts >= MOST_ATTEMPTS:
        settle(delivery, State.FAILED, message)
        return
    # Doubles with each attempt.
    wait = FIRST_WAIT * (1 << (delivery.attempts - 1))
    Delivery.objects.filter(pk=delivery.pk).update(
        message=f"{message} Retrying.", next_attempt_at=timezone.now() + wait
    )


def settle(delivery: Delivery, state: str, message: str, **columns: object) -> None:
    """Record the final state of a delivery."""
    Delivery.objects.filter(pk=delivery.pk).update(state=state, message=message, next_attempt_at=None, **columns)
