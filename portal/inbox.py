"""What waits for the reader, loaded once per request: requests that need their approval, and unread messages."""

from __future__ import annotations

from django.http import HttpRequest

from portal.auth.request_user import actor_of, permissions_of
from runs import notifications
from runs.changes import queries
from runs.governance import rule_changes
from runs.models import ChangeRequest

# Kinds with runs that are decided on the page of the change request, and not on that of a run request.
WITH_OWN_PAGE = (
    ChangeRequest.Kind.RETRY,
    ChangeRequest.Kind.BACKFILL,
    ChangeRequest.Kind.SCHEDULE,
    ChangeRequest.Kind.CHAIN,
)


def unread(request: HttpRequest) -> str:
    """Return the number of the reader's unread messages as it is displayed, "" without any."""
    found: str | None = getattr(request, "_unread", None)
    if found is None:
        # Read with the account: `portal.auth.backend`. The answer to a sign-in has another account.
        number = getattr(request.user, "unread", None)
        if number is None:
            number = notifications.count_unread(request.user.pk) if request.user.pk else 0
        found = "" if not number else str(number) if number < notifications.MOST_COUNTED else f"{number - 1}+"
        request._unread = found  # type: ignore[attr-defined]  # lives as long as the request
    return found


def waiting_for_me(request: HttpRequest) -> int:
    """Return the number of requests for runs that need the reader's approval."""
    return sum(change.kind not in WITH_OWN_PAGE for change in waiting_changes(request))


def changes_waiting_for_me(request: HttpRequest) -> int:
    """Return the number of changes of rules, retries, backfills and chains that need the reader's approval."""
    others = sum(change.kind in WITH_OWN_PAGE for change in waiting_changes(request))
    return others + len(waiting_rules(request))


def waiting_for(request: HttpRequest) -> list[int]:
    """Return the ids of the change requests for single runs that need the reader's approval."""
    return [change.pk for change in waiting_changes(request) if change.kind not in WITH_OWN_PAGE]


def waiting_changes(request: HttpRequest) -> list[ChangeRequest]:
    """Return the change requests for runs that need the reader's approval, loaded once per request."""
    # The menu needs them on every page; the panel and the filter then cost nothing.
    found: list[ChangeRequest] | None = getattr(request, "_waiting", None)
    if found is None:
        found = queries.waiting_changes(permissions_of(request))
        request._waiting = found  # type: ignore[attr-defined]  # lives as long as the request
    return found


def forget(request: HttpRequest) -> None:
    """Forget what was loaded for the request, after something was decided in it."""
    for name in ("_waiting", "_waiting_rules"):
        vars(request).pop(name, None)


def waiting_rules(request: HttpRequest) -> list[ChangeRequest]:
    """Return the changes of rules that need the reader's approval."""
    by = actor_of(request)
    return rule_changes.approvable(by, overseen_rules(request)) if by.is_administrator else []


def overseen_rules(request: HttpRequest) -> list[ChangeRequest]:
    """Return the waiting changes of rules that an administrator or auditor sees, loaded once per request."""
    found: list[ChangeRequest] | None = getattr(request, "_waiting_rules", None)
    if found is None:
        found = rule_changes.waiting(actor_of(request))
        request._waiting_rules = found  # type: ignore[attr-defined]  # lives as long as the request
    return found
