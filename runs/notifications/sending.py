"""Send what is due, one lane at a time. Only background tasks import it: a page never waits for another server."""

from __future__ import annotations

import json
import os
import smtplib
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote, urlsplit

from django.conf import settings
from django.db import connection
from django.utils import timezone

from flows import encryption, plain_text
from runs.models import Channel, Delivery
from runs.notifications import channel_messages, channels, deliveries, email_choices, links, mail, pinned_http
from runs.notifications.deliveries import EMAIL, State
from runs.notifications.pinned_http import Answer, NoAnswer

# After so many seconds a task leaves the rest of its lane to a further one.
LONGEST_TURN = 3.0
# Messages of one email.
MOST_TOGETHER = 100
# Advisory lock of the addresses that did not answer the last time, the mail server among them: one at a time, so that
# however many there are, the other processes are free for those that answer.
SUSPECTS = 7_218_004
# Answers after which the same message is sent again; all others that are not 2xx are final.
RETRIED = frozenset({408, 425, 429})
GONE = 410
LONGEST_ANSWER = 300
# Parts of an address that are no secret are shorter.
SHORTEST_SECRET = 6


def send_due(lane: int) -> bool:
    """Send what is due in a lane, oldest first; return whether there is more, for which there was no time."""
    channel = Channel.objects.filter(pk=lane).first() if lane != EMAIL else None
    if channel is None and lane != EMAIL:
        return False
    deliveries.fail_old(lane)
    with turn(channel) as is_free:
        # It waits for `requeue_due`.
        return is_free and send_some(lane)


@contextmanager
def turn(channel: Channel | None) -> Iterator[bool]:
    """Yield whether the lane can be sent now: an address that did not answer waits for others that did not."""
    if not deliveries.is_suspect(channel):
        yield True
        return
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [SUSPECTS])
        is_free = cursor.fetchone() == (True,)
    try:
        yield is_free
    finally:
        if is_free:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s)", [SUSPECTS])


def send_some(lane: int) -> bool:
    started = time.monotonic()
    while time.monotonic() - started < LONGEST_TURN:
        first = deliveries.first_due(lane)
        if first is None:
            return False
        # Read each time: it can be disabled between two messages.
        channel = Channel.objects.get(pk=lane) if lane != EMAIL else None
        if channel and not channel.is_enabled:
            deliveries.fail_all(channel)
            return False
        if not (send_to_channel(first, channel) if channel else send_email(first)):
            # What cannot be reached now cannot be reached by the next one either: it waits for `requeue_due`.
            return False
    return True


# Email ----------------------------------------------------------------------------------------------------------------


def send_email(delivery: Delivery) -> bool:
    """Claim and send one email; return whether the mail server could be reached."""
    person = delivery.notification.person
    # 1. Without an address, which was deleted since, or a server it fails for good.
    if person is None or not person.email:
        deliveries.settle(delivery, State.FAILED, f"{person} has no email address.")
        return True
    if not settings.SENDS_MAIL:
        deliveries.settle(delivery, State.FAILED, "No mail server is configured. Set PORTAL_MAIL_HOST.")
        return True
    # 2. Send it, with the others that are due if the person wants one email. A crash before it is recorded repeats it,
    #    with the same id.
    collects = email_choices.collects(email_choices.settings_of(person))
    together = deliveries.claim_email(delivery, person, MOST_TOGETHER - 1 if collects else 0)
    if not together:
        return True
    try:
        mail.send([each.notification for each in together], person.email, delivery.email or delivery.key)
    except (OSError, smtplib.SMTPException) as error:
        message = f"The mail server {settings.SMTP['host']} did not accept it: {mail.error_label(error)}."
        status = mail.reply_code(error)
        for each in together:
            deliveries.postpone(each, message, is_final=mail.is_final(error), status=status)
        return status is not None
    except ValueError as error:
        # An address or text that is not allowed in an email will not be allowed next time either.
        for each in together:
            deliveries.settle(each, State.FAILED, f"Invalid email to “{person.email}”: {error}")
    else:
        for each in together:
            deliveries.settle(each, State.SENT)
    return True


# Channels -------------------------------------------------------------------------------------------------------------


def send_to_channel(delivery: Delivery, channel: Channel) -> bool:
    """Claim and send one message to its channel; return whether the other side could be reached."""
    if not deliveries.claim(delivery):
        return True
    try:
        address = encryption.unseal(channel.sealed_address)
        secret = encryption.unseal(channel.sealed_secret) if channel.sealed_secret else ""
    except encryption.DecryptionError as error:
        deliveries.postpone(delivery, str(error))
        deliveries.back_off(channel, None)
        return False
    try:
        answer = exchange(delivery, channel, address, secret)
    except NoAnswer as failure:
        deliveries.postpone(delivery, f"{channel.destination}: {failure}.", is_final=failure.is_final)
        deliveries.back_off(channel, None)
        return False
    return note(delivery, channel, answer, clean(answer.text, address, secret))


def exchange(delivery: Delivery, channel: Channel, address: str, secret: str) -> Answer:
    """Send one message and return the answer; raises `NoAnswer`."""
    notice = delivery.notification
    body = channel_messages.body_of(channel.kind, notice, links.link_of(notice))
    if channel.kind == Channel.Kind.SERVICE:
        return send_by_apprise(address, body)
    headers = channel_messages.headers_of(delivery, body, secret, timezone.now())
    return pinned_http.post(address, body, headers, allows_private=channel.allows_private)


def note(delivery: Delivery, channel: Channel, answer: Answer, text: str) -> bool:
    """Record an answer; return whether the next message can be sent."""
    status = answer.status
    if 200 <= status < 300:
        deliveries.settle(delivery, State.SENT, status=status, answer=text)
        deliveries.note_answer(channel)
        return True
    message = f"{channel.destination} answered {status}."
    if status == GONE:
        deliveries.settle(delivery, State.FAILED, message, status=status, answer=text)
        channels.disable_gone(channel)
        return False
    if status in RETRIED or status >= 500:
        deliveries.postpone(delivery, message, rest=answer.retry_after, status=status, answer=text)
        deliveries.back_off(channel, answer.retry_after)
        return False
    if 300 <= status < 400:
        message = f"{channel.destination} redirects ({status}), which is not followed. Enter the address it leads to."
    # It was received and refused: another attempt would be too, and the channel can be reached.
    deliveries.settle(delivery, State.FAILED, message, status=status, answer=text)
    deliveries.note_answer(channel)
    return True


def send_by_apprise(address: str, body: bytes) -> Answer:
    """Send by a process that ends within the deadline, and return what the service answered; raises `NoAnswer`."""
    message = json.dumps({"address": address, **json.loads(body)})
    # Nothing else of this process's environment: it holds keys.
    environment = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "SSL_CERT_FILE") if name in os.environ}
    environment |= pinned_http.proxy_environment()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "runs.apprise_process"],
            input=message,
            text=True,
            capture_output=True,
            timeout=pinned_http.DEADLINE,
            cwd=settings.BASE_DIR,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NoAnswer("Response timed out") from None
    found = json.loads(done.stdout or "{}")
    if found:
        return Answer(found["status"], found["text"], pinned_http.retry_after(found["retry_after"]))
    if done.returncode:
        raise NoAnswer("The service did not accept the message, or could not be reached")
    return Answer(200, "", None)


def clean(text: str, address: str, secret: str) -> str:
    """Return the beginning of an answer as one line; none of it if it quotes a part of the address."""
    line = plain_text.line(text)[:LONGEST_ANSWER]
    parts = urlsplit(address)
    hidden = [secret, *parts.path.split("/"), *parts.query.replace("=", "&").split("&")]
    if parts.scheme not in ("http", "https"):
        # In an address of Apprise the place of the host can be a key.
        hidden += parts.netloc.replace("@", ":").split(":")
    hidden += [unquote(part) for part in hidden]
    if any(len(part) >= SHORTEST_SECRET and part in line for part in hidden):
        return "The answer quotes the address and is not shown."
    return line
