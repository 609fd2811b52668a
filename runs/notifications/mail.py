"""The email of a notification: plain text and HTML, and what the mail server's errors mean."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence
from email.utils import parseaddr
from uuid import UUID

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from runs.models import Notification
from runs.notifications.links import is_web, link_of

# SMTP: 5xx is permanent, 4xx is temporary.
PERMANENT = 500
# The reply of a server that closes the connection; one that does so without a word counts as if it had sent it.
CLOSED = 421
TEMPLATE = "runs/notification_email.html"
# Between the messages of one email.
SEPARATOR = f"\n{'-' * 60}\n\n"


def send(notices: Sequence[Notification], to: str, key: UUID) -> None:
    """Send one email with these messages. The same `key` makes the same Message-ID, by which a repetition is known.

    Raises `OSError`, `SMTPException`, or `ValueError` for an address or text that is not allowed.
    """
    is_one = len(notices) == 1
    subject = subject_of(notices[0]) if is_one else f"{len(notices)} notifications of the operations portal"
    parts = [plain_text(notice) if is_one else f"{subject_of(notice)}\n\n{plain_text(notice)}" for notice in notices]
    names = {"Message-ID": message_id(key)}
    email = EmailMultiAlternatives(subject, SEPARATOR.join(parts), to=[to], headers=names)
    links = [link_of(notice) for notice in notices]
    rows = [
        {
            "notice": notice,
            "subject": subject_of(notice),
            "link": link,
            "is_path": not is_web(link),
        }
        for notice, link in zip(notices, links, strict=True)
    ]
    email.attach_alternative(render_to_string(TEMPLATE, {"subject": subject, "rows": rows}), "text/html")
    email.send()


def message_id(key: UUID) -> str:
    """Return the Message-ID of an email, in the domain of the sender."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2]
    return f"<{key.hex}@{domain or 'localhost'}>"


def subject_of(notice: Notification) -> str:
    return notice.subject if notice.number == 1 else f"{notice.subject} ({notice.number} times)"


def plain_text(notice: Notification) -> str:
    """The text, with a link to what it is about; without PORTAL_PUBLIC_URL only the path is known."""
    link = link_of(notice)
    if not link:
        return f"{notice.text}\n"
    return f"{notice.text}\n\n{'' if settings.PUBLIC_URL else 'In the portal: '}{link}\n"


def error_label(error: Exception) -> str:
    """Return the kind of error; the server's own text is not repeated, it can contain anything."""
    labels = {
        ConnectionRefusedError: "connection refused",
        TimeoutError: "timed out",
        smtplib.SMTPAuthenticationError: "authentication failed",
        smtplib.SMTPRecipientsRefused: "address rejected",
        smtplib.SMTPSenderRefused: "sender rejected",
        ValueError: "invalid address or text",
    }
    return next((label for kind, label in labels.items() if isinstance(error, kind)), type(error).__name__)


def reply_code(error: Exception) -> int | None:
    """Return the code that the mail server replied with; None if it could not be reached, or did not reply."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return next((code for code, _ in error.recipients.values()), None)
    if isinstance(error, smtplib.SMTPServerDisconnected):
        return CLOSED
    # -1 stands for a reply that was none.
    code = error.smtp_code if isinstance(error, smtplib.SMTPResponseException) else 0
    return code if code > 0 else None


def is_final(error: Exception) -> bool:
    """Return whether every code that the server returned is permanent (5xx)."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= PERMANENT for code, _ in error.recipients.values())
    return isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError) and error.smtp_code >= PERMANENT
