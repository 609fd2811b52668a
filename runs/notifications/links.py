"""Links from messages to the pages that they are about."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from runs.models import Notification
from runs.models.notification import Topic

# Messages that ask for an approval or for the decision at a gate, when they are about one of these.
ASK_TO_DECIDE, DECIDED = (Topic.WAITING, Topic.RULES), ("runrequest", "changerequest")


def link_of(notice: Notification) -> str:
    """Return the address of what a message is about, "" if it is about nothing that has a page.

    If a decision is asked for, the link asks to sign in again: who holds an open browser is not always its user.
    Without PORTAL_PUBLIC_URL, which no request can replace, it is a path.
    """
    path = path_to(notice.target_kind, notice.target_id) if notice.target_kind else ""
    if path and notice.topic in ASK_TO_DECIDE and notice.target_kind in DECIDED:
        through = cast("Callable[[str], str]", import_string(settings.LINK_THROUGH_SIGN_IN))
        path = through(path)
    return f"{settings.PUBLIC_URL.rstrip('/')}{path}" if path else ""


def path_to(kind: str, pk: str) -> str:
    """The path of a page of the portal; a setting names the function, because only the portal knows its addresses."""
    find_path = cast("Callable[[str, str], str]", import_string(settings.LINK_TO))
    return find_path(kind, pk)


def is_web(link: str) -> bool:
    """Return whether a link is an address; without PORTAL_PUBLIC_URL it is a path."""
    return link.startswith(("https://", "http://"))
