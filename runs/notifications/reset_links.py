"""The email with a link for a new password.

It is not a `Notification`: its text is stored nowhere, because the link is enough to sign in as the account.
"""

from __future__ import annotations

import smtplib
from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.utils.module_loading import import_string

from flows.wording import plural
from runs.notifications.mail import error_label

SUBJECT = "Choose a new password for the operations portal"
REQUESTED = (
    "Someone, probably you, requested a new password for your account {name} in the operations portal. If it was not "
    "you, ignore this email: your password stays as it is."
)
MADE_ADMINISTRATOR = (
    "The operator of this installation has made you an administrator of the operations portal. Your account is {name}."
)


class NotSent(Exception):
    """The email could not be sent; the message is a sentence without the link."""


def send_reset_link(person: User, reason: str) -> None:
    """Send a link to the account's email address; `reason` is the first sentence. Raises `NotSent`."""
    text = (
        f"{reason.format(name=person.get_username())}\n\n"
        f"Open this link to choose a new password. It can be used once, within {describe_validity()}:\n\n"
        f"{reset_link(person)}\n"
    )
    try:
        EmailMessage(SUBJECT, text, to=[person.email]).send()
    except (OSError, smtplib.SMTPException, ValueError) as error:
        # Not the error's own text, which can contain anything.
        raise NotSent(f"The link for a new password of {person} could not be sent: {error_label(error)}.") from error


def reset_link(person: User) -> str:
    """Return a link with a new token; without PORTAL_PUBLIC_URL, which no request can replace, its path."""
    find_path = cast("Callable[[User], str]", import_string(settings.RESET_LINK_TO))
    return settings.PUBLIC_URL.rstrip("/") + find_path(person)


def describe_validity() -> str:
    return plural(settings.PASSWORD_RESET_TIMEOUT // 60, "minute")
