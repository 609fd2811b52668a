"""The email of a notification: plain text and HTML, and what the mail server's errors mean."""

from __future__ import annotations

import smtplib
from collections.abc import Callable, Sequence
from typing import cast

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils.module_loading import import_string

from runs.models import Notification

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
            "is_path": not link.startswith(("https://", "http://")),
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


def link_of(notice: Notification) -> str:
    """Return the address of what a message is about, "" if it is about nothing that has a page.

    Without PORTAL_PUBLIC_URL, which no request can replace, it is a path.
    """
    path = path_to(notice.target_kind, notice.target_id) if notice.target_kind else ""
    return f"{settings.PUBLIC_URL.rstrip('/')}{path}" if path else ""


def path_to(kind: str, pk: str) -> str:
    """The path of a page of the portal; a setting names the function, because only the portal knows its addresses."""
    find_path = cast("Callable[[str, str], str]", import_string(settings.LINK_TO))
    return find_path(kind, pk)


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
