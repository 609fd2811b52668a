"""The requests that wait for the reader's answer: the number in the menu, the panel of the overview, a filter."""

from __future__ import annotations

from django.http import HttpRequest

from portal.auth.request_user import permissions_of
from runs.changes import queries


def waiting_for_me(request: HttpRequest) -> int:
    """How many there are."""
    return len(waiting_for(request))


def waiting_for(request: HttpRequest) -> list[int]:
    """Their keys, read once a page."""
    found: list[int] | None = getattr(request, "_waiting", None)
    if found is None:
        found = queries.waiting_for(permissions_of(request))
        request._waiting = found  # type: ignore[attr-defined]  # lives as long as the request
    return found
