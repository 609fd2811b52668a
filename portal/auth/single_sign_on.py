"""Pages of single sign-on: to the provider and back, with an audit entry of each attempt to sign in.

What has to be known on the way back is in a signed cookie: a stranger who begins a sign-on stores nothing here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.contrib import admin, auth
from django.contrib.auth.models import User
from django.contrib.auth.views import LoginView
from django.core import signing
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.crypto import constant_time_compare
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from portal.auth import browser_sessions, kept_form, sign_in, sign_on_provider, throttle
from portal.auth.request_user import portal_address
from runs.errors import Refused
from runs.governance import sign_on
from runs.governance.sign_on import Identity

START, RETURN = "sign_on", "sign_on_return"
# Set by links that ask for a decision: the user has to authenticate again.
AGAIN = "again"
COOKIE = f"{settings.COOKIE_PREFIX}portal_sign_on"
# Seconds for everything that the provider asks.
VALID_FOR = 900
BACKEND = settings.AUTHENTICATION_BACKENDS[0]
# As providers write error codes; anything else is not repeated.
ERROR_CODE = re.compile(r"[a-z_]{1,40}")
STATUSES = {"sign_on.throttled": 429, "sign_on.unavailable": 503}


@never_cache
@require_http_methods(["GET", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """Send the browser to the provider."""
    require_provider()
    asked = request.POST if request.method == "POST" else request.GET
    known = {"next": LoginView().get_redirect_url(request), AGAIN: bool(asked.get(AGAIN))}
    try:
        again = browser_sessions.RECENTLY if known[AGAIN] else None
        address, at_provider = sign_on_provider.begin(return_address(request), again=again)
    except Refused as refusal:
        return show_refusal(request, refusal, known)
    if request.method == "POST":
        # With what was entered before. Not a redirect: the policy for forms forbids one to another site.
        kept_form.carry(request)
        response = render(request, "portal/sign_on/leaving.html", page_context(request) | {"address": address})
    else:
        response = HttpResponseRedirect(address)
    response.set_cookie(
        COOKIE,
        signing.dumps(known | at_provider, salt=COOKIE),
        max_age=VALID_FOR,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response


@never_cache
@require_GET
def finish(request: HttpRequest) -> HttpResponse:
    """Sign in whom the provider names; the browser returns from there."""
    require_provider()
    known: dict[str, Any] = {}
    attempt: throttle.Attempt | None = None
    try:
        attempt = throttle.begin_sign_on(request.META.get("REMOTE_ADDR", ""))
        known = begun_here(request)
        person = admit(request, known, attempt)
    except Refused as refusal:
        # Failures of a throttled address are recorded once.
        if refusal.data["is_first"] if attempt is None else not attempt.is_recorded:
            name = refusal.data.get("username", "")
            sign_in.record_sign_in(request, name, refusal=refusal.message, method=settings.SSO_NAME)
        response = show_refusal(request, refusal, known)
    else:
        response = HttpResponseRedirect(known["next"] or reverse("admin:index"))
        throttle.remember_browser(response, person.get_username())
    response.delete_cookie(COOKIE, samesite="Lax")
    return response


def begun_here(request: HttpRequest) -> dict[str, Any]:
    """Return what this browser knew when it left for the provider."""
    try:
        known: dict[str, Any] = signing.loads(request.COOKIES.get(COOKIE, ""), salt=COOKIE, max_age=VALID_FOR)
    except signing.BadSignature:
        known = {}
    if not known or not constant_time_compare(request.GET.get("state", ""), known["state"]):
        raise Refused("sign_on.expired", "The sign-on took too long, or it began in another browser or tab.")
    return known


def admit(request: HttpRequest, known: Mapping[str, Any], attempt: throttle.Attempt) -> User:
    """Sign in whom the provider names, and return them."""
    identity = identify(request, known)
    carried = kept_form.carried(request)
    with transaction.atomic():
        # Only shortly after a sign-in: an unattended browser must not connect another identity.
        signed_in = request.user if isinstance(request.user, User) and browser_sessions.is_proven(request) else None
        person = sign_on.account_of(identity, signed_in=signed_in, by=lambda found: sign_in.visitor_as(request, found))
        attempt.succeed()
        auth.login(request, person, backend=BACKEND)
        sign_in.record_sign_in(request, person.get_username(), method=settings.SSO_NAME)
    address, user_agent = sign_in.origin_of(request)
    browser_sessions.begin(request, address=address, user_agent=user_agent, proven_at=identity.proven_at)
    kept_form.restore(request, carried)
    return person


def identify(request: HttpRequest, known: Mapping[str, Any]) -> Identity:
    """Return whom the provider names, as verified as the link asks for."""
    if "code" not in request.GET:
        code = request.GET.get("error", "")
        why = f"Its answer was {code}." if ERROR_CODE.fullmatch(code) else "It gave no reason."
        raise sign_on_provider.failed(why)
    identity = sign_on_provider.identify(request.GET["code"], known, return_address(request))
    is_fresh = identity.proven_at and timezone.now() - identity.proven_at <= browser_sessions.RECENTLY
    if known[AGAIN] and not is_fresh:
        raise Refused(
            "sign_on.not_fresh",
            f"{settings.SSO_NAME} does not confirm that you signed in there just now, which this page asks for.",
        )
    return identity


def show_refusal(request: HttpRequest, refusal: Refused, known: Mapping[str, Any]) -> HttpResponse:
    """Render the page that says why nobody was signed in."""
    query = {LoginView.redirect_field_name: known.get("next", "")} | ({AGAIN: 1} if known.get(AGAIN) else {})
    context = page_context(request) | {
        "title": "You are not signed in" if request.user.is_anonymous else "You did not sign in again",
        "refusal": refusal,
        "retry": reverse(START, query=query),
        "password": reverse("admin:login", query={LoginView.redirect_field_name: known.get("next", "")}),
    }
    response = render(request, "portal/sign_on/refused.html", context, status=STATUSES.get(refusal.code, 403))
    if "retry_after" in refusal.data:
        response["Retry-After"] = str(refusal.data["retry_after"])
    return response


def page_context(request: HttpRequest) -> dict[str, Any]:
    return {**admin.site.each_context(request), "provider": settings.SSO_NAME}


def return_address(request: HttpRequest) -> str:
    """Return the address that the provider has to know."""
    return portal_address(request) + reverse(RETURN)


def require_provider() -> None:
    if not settings.SSO_ISSUER:
        raise Http404


URLS = [
    path("admin/sign-on/", start, name=START),
    path("admin/sign-on/return/", finish, name=RETURN),
]
