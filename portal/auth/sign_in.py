"""Sign-in, sign-out and password changes, each with an audit entry, refused attempts included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils import timezone
from unfold.forms import AdminOwnPasswordChangeForm, AuthenticationForm

from portal.auth import browser_sessions, kept_form, throttle
from portal.auth.request_user import actor_of
from runs import audit, change_feed
from runs.actors import Actor, Channel, Kind
from runs.errors import Refused


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # the theme's forms have no types
    """The theme's sign-in form, with an audit entry for each attempt, and a wait after too many failed ones."""

    error_messages: ClassVar[dict[str, Any]] = {
        **AuthenticationForm.error_messages,
        # The same for an account that does not exist, is disabled or may not open these pages.
        "invalid_login": "Wrong user name or password.",
    }
    throttled: Refused | None = None

    def clean(self) -> dict[str, Any]:
        username = str(self.cleaned_data.get("username") or "")
        if not username or not self.cleaned_data.get("password"):
            cleaned: dict[str, Any] = self.cleaned_data
            return cleaned  # that is no attempt
        try:
            attempt = throttle.begin_sign_in(self.request, username)
        except Refused as refusal:
            self.throttled = refusal
            if refusal.data["is_first"]:
                record_sign_in(self.request, username, refusal=refusal.message)
            raise ValidationError(refusal.message, code=refusal.code) from refusal
        try:
            # One transaction: Django may rehash the password, and that row version has to find this entry.
            with transaction.atomic():
                cleaned = super().clean()
                attempt.succeed()
                record_sign_in(self.request, username)
        except ValidationError as error:
            # After the transaction was rolled back, so that the entry of the refusal stays.
            if not attempt.is_recorded:
                record_sign_in(self.request, username, refusal=error.messages[0])
            raise
        return cleaned


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc]  # the theme's forms have no types
    """The theme's form for changing your password, with a wait after too many wrong old ones."""

    throttled: Refused | None = None
    # Whether the audit trail says already that this form is throttled.
    is_recorded = False

    def clean_old_password(self) -> str:
        try:
            attempt = throttle.begin_own_password(self.user.pk)
        except Refused as refusal:
            self.throttled, self.is_recorded = refusal, not refusal.data["is_first"]
            raise ValidationError(refusal.message, code=refusal.code) from refusal
        self.is_recorded = attempt.is_recorded
        old_password: str = super().clean_old_password()
        attempt.succeed()
        self.is_recorded = False
        return old_password


def sign_in(request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    """Run Django's view for signing in; after a success, remember the browser and what was entered before."""
    response = view()
    if request.method == "POST" and isinstance(response, HttpResponseRedirect):
        throttle.remember_browser(response, request.user.get_username())
        address, user_agent = origin_of(request)
        browser_sessions.begin(request, address=address, user_agent=user_agent, proven_at=timezone.now())
        kept_form.restore(request, request.POST.get(kept_form.TOKEN, ""))
    return with_wait(response)


def with_wait(response: HttpResponse) -> HttpResponse:
    """Make it a 429 if its form was throttled."""
    refusal = getattr(form_of(response), "throttled", None)
    if refusal:
        response.status_code = 429
        response["Retry-After"] = str(refusal.data["retry_after"])
    return response


def form_of(response: HttpResponse) -> Any:
    return (getattr(response, "context_data", None) or {}).get("form")


def record_sign_in(request: HttpRequest, username: str, *, refusal: str = "", method: str = "password") -> None:
    by = attempted_name(request, username)
    with audit.act("session.sign_in", None, by=by, subject_kind="session", subject_name=by.name) as act:
        act.refusal, act.after = refusal, {"method": method}


def attempted_name(request: HttpRequest, username: str) -> Actor:
    """Return the actor of an attempted sign-in."""
    # An unknown name is not recorded: people type passwords into the wrong field, and the trail can never be cleaned.
    person = User.objects.filter(username=username).first()
    return visitor_as(request, person) if person else unknown_visitor(request, "unknown account")


def visitor_as(request: HttpRequest, person: User) -> Actor:
    """Return the actor of a person who is not signed in."""
    address, user_agent = origin_of(request)
    return Actor.person(person, channel=Channel.ADMIN, address=address, user_agent=user_agent)


def unknown_visitor(request: HttpRequest, name: str) -> Actor:
    """Return the actor of a person whose account is not known."""
    address, user_agent = origin_of(request)
    return Actor(Kind.PERSON, "", name, Channel.ADMIN, None, address, user_agent[:400])


def origin_of(request: HttpRequest) -> tuple[str, str]:
    """Return the address and the browser of a request."""
    return request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_USER_AGENT", "")


def change_password(request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    """Run Django's view for changing your password and record the result."""
    if request.method != "POST" or not request.user.is_authenticated:
        return view()
    # Django's view redirects after a change and renders the form again after an error; it tells in no other way.
    about = {"subject_kind": "person", "subject_id": str(request.user.pk), "subject_name": request.user.get_username()}
    with audit.act("person.own_password", None, by=actor_of(request), **about) as act:
        response = view()
        if not isinstance(response, HttpResponseRedirect):
            form = form_of(response)
            if form is not None and form.is_recorded:
                act.is_repeat = True
            else:
                act.refusal = errors_of(form)
    return with_wait(response)


def errors_of(form: Any) -> str:
    """Return the errors of a form as one text."""
    errors = [message for messages in form.errors.values() for message in messages] if form else []
    return " ".join(errors) or "The form is incomplete."


def record_sign_out(request: HttpRequest) -> None:
    """Record a sign-out. Call it before the session is flushed, while the user is still known."""
    if request.user.is_authenticated:
        by = actor_of(request)
        with audit.act("session.sign_out", None, by=by, subject_kind="session", subject_name=by.name):
            # Pages that are still open elsewhere end their streams.
            change_feed.publish("rights", [by.user.pk or 0])
