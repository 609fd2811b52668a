"""The error pages: what happened, and what to do."""

from __future__ import annotations

from contextlib import suppress

from django.contrib import admin
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import REASON_BAD_ORIGIN
from django.shortcuts import render

from portal.admin.run_form import kept
from portal.auth.request_user import actor_of
from runs import audit
from runs.access.decisions import Forbidden
from runs.errors import Refused

# status -> (title, advice, icon)
PAGES: dict[int, tuple[str, str, str]] = {
    400: (
        "Invalid request",
        "The address or the form is malformed or incomplete. Go back and try again.",
        "error",
    ),
    403: (
        "You don't have permission",
        "Ask an administrator for a grant, and tell them which page you were on.",
        "lock",
    ),
    404: (
        "Page not found",
        "The address may be wrong, the page may have been deleted, or you don't have permission to view it.",
        "search_off",
    ),
    413: (
        "Request too large",
        "A form may have up to 8 MB, and a flow run up to 512 kB of parameters. "
        "Store large data where the flow can fetch it, and pass its address.",
        "weight",
    ),
}


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Render a 403, and record a refused act unless the service that refused it has done so."""
    # `perform` raises PermissionDenied from Forbidden, whose service has audited it. Only views that refuse by
    # themselves are recorded here, and only acts: a GET changes nothing.
    is_act = request.method not in ("GET", "HEAD", "OPTIONS") and request.user.is_authenticated
    if is_act and not isinstance(exception.__cause__, Forbidden):
        by = actor_of(request)
        with (
            suppress(Refused),
            audit.act("portal.refuse", None, by=by, subject_kind="address", subject_name=request.path),
        ):
            raise Refused("access.denied", str(exception) or f"{by.name} does not have permission for this.")
    return page(request, 403, sentence=str(exception))


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    # Without Django's message: it names the model and the key, and so reveals that a hidden row exists.
    return page(request, 404)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    return page(request, 413 if isinstance(exception, RequestDataTooBig | TooManyFieldsSent) else 400)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    # Signing in or out in another tab makes the token of an open form invalid. The header shows that it is our form:
    # the middleware has compared it before the token. Entries sent by another site must not be displayed.
    is_own = "Origin" in request.headers and not reason.startswith(REASON_BAD_ORIGIN.partition("%")[0])
    answer = kept.answer(request) if is_own and kept.is_run_form(request) else None
    return answer or page(
        request,
        403,
        sentence="The form has expired, or you signed in or out in another tab.",
        advice="Nothing was changed. Go back, reload the page and submit it again.",
    )


def page(request: HttpRequest, status: int, *, sentence: str = "", advice: str = "") -> HttpResponse:
    title, usual_advice, icon = PAGES[status]
    context = {
        # A request that failed in a middleware has no user yet; then the page has no sidebar.
        **(admin.site.each_context(request) if hasattr(request, "user") else {}),
        "title": title,
        "sentence": sentence,
        "advice": advice or usual_advice,
        "icon": icon,
        "status": status,
    }
    return render(request, "portal/error.html", context, status=status)
