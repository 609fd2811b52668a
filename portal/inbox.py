"""The requests that need the reader's approval: for the number in the menu, the overview's panel and a filter."""

from __future__ import annotations

from django.http import HttpRequest

from portal.auth.request_user import permissions_of
from runs.changes import queries


def waiting_for_me(request: HttpRequest) -> int:
    """Return the number of requests that need the reader's approval."""
    return len(waiting_for(request))


def waiting_for(request: HttpRequest) -> list[int]:
    """Return the ids of the requests that need the reader's approval, loaded once per request."""
    # The menu needs them on every page; the panel and the filter then cost nothing.
    found: list[int] | None = getattr(request, "_waiting", None)
    if found is None:
        found = queries.waiting_for(permissions_of(request))
        request._waiting = found  # type: ignore[attr-defined]  # lives as long as the request
    return found
