"""The profile page: the reader's own name, address, time zone, sessions, tokens and notifications."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_POST

from flows.local_time import zone_names
from portal.admin.base import attempt
from portal.admin.profile.forms import EmailForm, EmailTimesForm, NameForm, TimeZoneForm
from portal.auth import browser_sessions, profiles, sign_in_again
from portal.auth.request_user import actor_of
from portal.ui.browser_names import browser_name
from runs.governance import accounts
from runs.models import SignOnIdentity, Token
from runs.notifications import email_choices

# A person has few; the list of tokens has the rest.
FEW = 10


def person_of(request: HttpRequest) -> User:
    if not isinstance(request.user, User):
        raise PermissionDenied("Sign in first.")
    return request.user


@require_GET
def profile(request: HttpRequest) -> HttpResponse:
    return show(request)


def show(
    request: HttpRequest,
    email_form: EmailForm | None = None,
    times_form: EmailTimesForm | None = None,
    status: int = 200,
) -> HttpResponse:
    person = person_of(request)
    zone = profiles.time_zone_of(person)
    context = {
        **admin.site.each_context(request),
        "title": "Profile",
        "person": person,
        "groups": [group.name for group in person.groups.order_by("name")],
        "email_form": email_form or EmailForm(person, initial={"email": person.email}),
        "times_form": times_form or EmailTimesForm.of(person),
        "name_form": NameForm.of(person),
        "sends_mail": settings.SENDS_MAIL,
        "zone_form": TimeZoneForm(initial={"time_zone": zone}),
        "zone": zone,
        "portal_zone": settings.TIME_ZONE,
        "zones": sorted(zone_names()),
        "now": timezone.now(),
        "sessions": list(session_rows(request, person)),
        "sign_on_identity": SignOnIdentity.objects.filter(person=person).first() if settings.SSO_ISSUER else None,
        "tokens": valid_tokens(person)[:FEW],
    }
    return render(request, "portal/profile/page.html", context, status=status)


def valid_tokens(person: User) -> QuerySet[Token]:
    now = timezone.now()
    is_open = Q(revoked_at=None) | Q(revoked_at__gt=now)
    return Token.objects.filter(is_open, user=person, agent=None, expires_at__gt=now).exclude(digest="")


def session_rows(request: HttpRequest, person: User) -> list[dict[str, Any]]:
    """Return a row for each browser in which the person is signed in, this one first."""
    rows = [
        {
            "browser": browser_name(row.browser),
            "user_agent": row.browser,
            "address": row.address,
            "since": row.signed_in_at,
            "until": row.expire_date,
            "is_own": row.session_key == request.session.session_key,
            "number": browser_sessions.number_of(row.session_key),
        }
        for row in browser_sessions.open_sessions(person)
    ]
    return sorted(rows, key=lambda row: not row["is_own"])


@require_POST
def set_name(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    first, last = (request.POST.get(name, "").replace("\0", "") for name in ("first_name", "last_name"))
    attempt(request, "Name", lambda: accounts.change_own_name(person, first, last, by=actor_of(request)), "saved.")
    return HttpResponseRedirect(reverse("profile"))


@require_POST
def set_time_zone(request: HttpRequest) -> HttpResponse:
    person, name = person_of(request), request.POST.get("time_zone", "").strip()
    attempt(request, "Time zone", lambda: profiles.set_time_zone(person, name, by=actor_of(request)), "saved.")
    return HttpResponseRedirect(reverse("profile"))


@sensitive_post_parameters("password")
@require_POST
def set_email(request: HttpRequest) -> HttpResponse:
    person = person_of(request)
    if not person.has_usable_password() and not browser_sessions.is_proven(request):
        # The form cannot ask for a password.
        messages.warning(request, "Sign in again, then change your email address. Nothing was changed.")
        return HttpResponseRedirect(sign_in_again.path_through(reverse("profile")))
    form = EmailForm(person, request.POST)
    if not form.is_valid():
        return show(request, email_form=form, status=429 if form.throttled else 200)
    email: str = form.cleaned_data["email"]
    attempt(
        request,
        "Email address",
        lambda: accounts.change_own_email(person, email, by=actor_of(request), **form.confirmation),
        "saved.",
    )
    return HttpResponseRedirect(reverse("profile"))


@require_POST
def set_email_times(request: HttpRequest) -> HttpResponse:
    person, form = person_of(request), EmailTimesForm(request.POST)
    if not form.is_valid():
        return show(request, times_form=form)
    attempt(
        request,
        "Email times",
        lambda: email_choices.choose(person, by=actor_of(request), **form.cleaned_data),
        "saved.",
    )
    return HttpResponseRedirect(reverse("profile"))


@require_POST
def end_session(request: HttpRequest) -> HttpResponse:
    """Sign the reader out in one other browser."""
    person, number, own_key = person_of(request), request.POST.get("session", ""), request.session.session_key
    attempt(
        request,
        "Session",
        lambda: browser_sessions.end(person, number, own_key=own_key, by=actor_of(request)),
        "ended.",
    )
    return HttpResponseRedirect(f"{reverse('profile')}#sessions")


@require_POST
def end_other_sessions(request: HttpRequest) -> HttpResponse:
    """Sign the reader out in all other browsers."""
    person = person_of(request)
    own_key = request.session.session_key
    ended = browser_sessions.end_others(person, own_key=own_key, by=actor_of(request))
    messages.success(request, f"Signed out everywhere else: {ended} {'session' if ended == 1 else 'sessions'} ended.")
    return HttpResponseRedirect(reverse("profile"))


# name -> address below "admin/", and its view
ADDRESSES: dict[str, tuple[str, Callable[..., HttpResponse]]] = {
    "profile": ("profile/", profile),
    "profile_time_zone": ("profile/time-zone/", set_time_zone),
    "profile_name": ("profile/name/", set_name),
    "profile_email": ("profile/email/", set_email),
    "profile_email_times": ("profile/email-times/", set_email_times),
    "profile_end_session": ("profile/end-session/", end_session),
    "profile_end_sessions": ("profile/end-other-sessions/", end_other_sessions),
}
