"""The requests that wait for the reader's answer: the number in the menu, the panel of the overview, a filter."""

from __future__ import annotations

from django.db.models import QuerySet
from django.http import HttpRequest

from flows.models import Verb
from portal.reader import holding
from runs import inbox
from runs.models import RunRequest


def waiting_for_me(request: HttpRequest) -> int:
    """How many there are."""
    return waiting_for(request).count()


def waiting_for(request: HttpRequest) -> QuerySet[RunRequest]:
    """What takes reading the requests themselves is read once a page."""
    mine = holding(request)
    found: list[int] | None = getattr(request, "_turned_away", None)
    if found is None:
        found = inbox.turned_away_from(mine) if mine.may_any(Verb.APPROVE) else []
        request._turned_away = found  # type: ignore[attr-defined]  # lives as long as the request
    return inbox.waiting_for(mine, found)
