"""The email of a notification: plain text and HTML, and what the mail server's errors mean."""

from __future__ import annotations

import smtplib
from collections.abc import Sequence

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string

from runs.models import Notification
from runs.notifications.links import is_web, link_of

# SMTP: 5xx is permanent, 4xx is temporary.
PERMANENT = 500
TEMPLATE = "runs/notification_email.html"
# Between the messages of one email.
SEPARATOR = f"\n{'-' * 60}\n\n"


def send(notices: Sequence[Notification], to: str) -> None:
    """Send one email with these messages.

    Raises `OSError`, `SMTPException`, or `ValueError` for an address or text that is not allowed.
    """
    is_one = len(notices) == 1
    subject = subject_of(notices[0]) if is_one else f"{len(notices)} notifications of the operations portal"
    parts = [plain_text(notice) if is_one else f"{subject_of(notice)}\n\n{plain_text(notice)}" for notice in notices]
    email = EmailMultiAlternatives(subject, SEPARATOR.join(parts), to=[to])
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


def is_final(error: Exception) -> bool:
    """Return whether every code that the server returned is permanent (5xx)."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return all(code >= PERMANENT for code, _ in error.recipients.values())
    return isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError) and error.smtp_code >= PERMANENT
