"""What every button does: call one verb, say how it went, and go back to where it was pressed."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme

from flows import encryption
from runs.access.decisions import Forbidden
from runs.errors import Refused

LONGEST_REASON, LONGEST_TICKET = 1000, 100


def perform(request: HttpRequest, act: Callable[[str], object], done: str | Callable[[], str]) -> None:
    """Do one act with the reason that was typed; not being permitted is a 403, being too late is a sentence.

    `done` says what came of it, or is asked for that afterwards.
    """
    try:
        act(reason_of(request))
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    except Refused as refusal:
        messages.warning(request, refusal.message, extra_tags=refusal.code)
    except encryption.DecryptionError as error:
        messages.warning(request, str(error), extra_tags="key.unreadable")
    else:
        messages.success(request, done if isinstance(done, str) else done())


def reason_of(request: HttpRequest) -> str:
    reason = request.POST.get("reason", "").strip()
    if len(reason) > LONGEST_REASON:
        raise Refused(
            "reason.too_long",
            f"The reason is too long: {len(reason)} characters, at most {LONGEST_REASON}.",
            limit=LONGEST_REASON,
        )
    return reason


def ticket_of(request: HttpRequest) -> str:
    ticket = request.POST.get("ticket", "").strip()
    if len(ticket) > LONGEST_TICKET:
        raise Refused(
            "ticket.too_long",
            f"The ticket is too long: {len(ticket)} characters, at most {LONGEST_TICKET}.",
            limit=LONGEST_TICKET,
        )
    return ticket


def redirect_back(request: HttpRequest, otherwise: str) -> HttpResponseRedirect:
    """To the page the form names as `next`, when it is one of ours."""
    target = request.POST.get("next", "")
    is_own = url_has_allowed_host_and_scheme(target, {request.get_host()}, require_https=request.is_secure())
    return HttpResponseRedirect(target if is_own else otherwise)
