"""Sign-in, sign-out and password changes, each with an audit entry, refused attempts included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.forms import AuthenticationForm

from portal.auth.request_user import actor_of
from runs import audit
from runs.actors import Actor, Channel, Kind


class SignInForm(AuthenticationForm):  # type: ignore[misc]  # the theme's forms have no types
    """The theme's sign-in form, with an audit entry for each attempt."""

    def clean(self) -> dict[str, Any]:
        try:
            # One transaction: Django may rehash the password, and that row version has to find this entry.
            with transaction.atomic():
                cleaned: dict[str, Any] = super().clean()
                # None if a field was empty: that is no attempt.
                if person := self.get_user():
                    record_sign_in(self.request, person.get_username())
        except ValidationError as error:
            # After the transaction was rolled back, so that the entry of the refusal stays.
            record_sign_in(self.request, str(self.cleaned_data.get("username", "")), refusal=error.messages[0])
            raise
        return cleaned


def record_sign_in(request: HttpRequest, username: str, *, refusal: str = "") -> None:
    by = attempted_name(request, username)
    with audit.act("session.sign_in", None, by=by, subject_kind="session", subject_name=by.name) as act:
        act.refusal = refusal


def attempted_name(request: HttpRequest, username: str) -> Actor:
    """Return the actor of an attempted sign-in."""
    # An unknown name is not recorded: people type passwords into the wrong field, and the trail can never be cleaned.
    address, user_agent = request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_USER_AGENT", "")
    person = User.objects.filter(username=username).first()
    if person:
        return Actor.person(person, channel=Channel.ADMIN, address=address, user_agent=user_agent)
    return Actor(Kind.PERSON, "", "unknown account", Channel.ADMIN, None, address, user_agent)


def change_password(request: HttpRequest, view: Callable[[], HttpResponse]) -> HttpResponse:
    """Run Django's view for changing one's own password and record the result."""
    if request.method != "POST" or not request.user.is_authenticated:
        return view()
    # Django's view redirects after a change and renders the form again after an error; it tells in no other way.
    about = {"subject_kind": "person", "subject_id": str(request.user.pk), "subject_name": request.user.get_username()}
    with audit.act("person.own_password", None, by=actor_of(request), **about) as act:
        response = view()
        if not isinstance(response, HttpResponseRedirect):
            form = (getattr(response, "context_data", None) or {}).get("form")
            errors = [message for messages in form.errors.values() for message in messages] if form else []
            act.refusal = " ".join(errors) or "The form is incomplete."
    return response


def record_sign_out(request: HttpRequest) -> None:
    """Record a sign-out. Call it before the session is flushed, while the user is still known."""
    if request.user.is_authenticated:
        by = actor_of(request)
        with audit.act("session.sign_out", None, by=by, subject_kind="session", subject_name=by.name):
            pass
