"""Runs the service behind a button, reports the result as a message, and redirects back."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme

from flows import encryption
from portal.admin.changes import waiting
from runs.access.decisions import Forbidden
from runs.errors import Refused
from runs.models import ChangeRequest

LONGEST_REASON, LONGEST_TICKET = 1000, 100


def perform(request: HttpRequest, act: Callable[[str], object], done: str | Callable[[], str]) -> None:
    """Call `act` with the typed reason and report the result as a message.

    `done` is the message of success, or a function that is called afterwards to build it. An act that returns a change
    request did not happen: it waits for a second signature. Raises `PermissionDenied`.
    """
    try:
        result = act(reason_of(request))
    # A missing permission is a 403. Every other refusal is a message on the page: most often the page was out of date.
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    except Refused as refusal:
        # The code travels as a tag, so that tests need not compare English.
        messages.warning(request, refusal.message, extra_tags=refusal.code)
    except encryption.DecryptionError as error:
        messages.warning(request, str(error), extra_tags="key.unreadable")
    else:
        if isinstance(result, ChangeRequest):
            waiting.tell(request, result)
        else:
            messages.success(request, done if isinstance(done, str) else done())


def reason_of(request: HttpRequest) -> str:
    """Return the typed reason; raise `Refused` with code `reason.too_long`."""
    reason = request.POST.get("reason", "").strip()
    if len(reason) > LONGEST_REASON:
        raise Refused(
            "reason.too_long",
            f"The reason is too long: {len(reason)} characters, at most {LONGEST_REASON}.",
            limit=LONGEST_REASON,
        )
    return reason


def ticket_of(request: HttpRequest) -> str:
    """Return the typed ticket; raise `Refused` with code `ticket.too_long`."""
    ticket = request.POST.get("ticket", "").strip()
    if len(ticket) > LONGEST_TICKET:
        raise Refused(
            "ticket.too_long",
            f"The ticket is too long: {len(ticket)} characters, at most {LONGEST_TICKET}.",
            limit=LONGEST_TICKET,
        )
    return ticket


def redirect_back(request: HttpRequest, otherwise: str) -> HttpResponseRedirect:
    """Redirect to the form's `next` if it is on this host, else to `otherwise`."""
    # Anything else would be an open redirect: a prepared form could lead from the portal to a page that looks like it.
    target = request.POST.get("next", "")
    is_own = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(target if is_own else otherwise)
