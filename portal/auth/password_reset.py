"""A new password by a mailed link, for people who cannot sign in.

Every request gets the same answer, whether an account has the address or not: the audit trail says which.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.contrib import admin
from django.contrib.auth.forms import PasswordResetForm, SetPasswordForm
from django.contrib.auth.models import User
from django.contrib.auth.tokens import default_token_generator
from django.contrib.auth.views import (
    PasswordResetCompleteView,
    PasswordResetConfirmView,
    PasswordResetDoneView,
    PasswordResetView,
)
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.views.generic.base import ContextMixin
from unfold.widgets import BASE_INPUT_CLASSES

from portal.auth import sign_in, throttle
from runs import audit, notifications
from runs.errors import Refused
from runs.governance import accounts

INPUT_CLASS = " ".join(BASE_INPUT_CLASSES)


def path_of_link(person: User) -> str:
    """Return the path of a link with a new token. The token ends with the next sign-in, password or email address."""
    uid = urlsafe_base64_encode(force_bytes(person.pk))
    return reverse("password_reset_confirm", args=[uid, default_token_generator.make_token(person)])


class RequestForm(PasswordResetForm):
    """Asks for an email address, with a wait after too many requests."""

    throttled: Refused | None = None
    attempt: throttle.Attempt

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        self.fields["email"].widget.attrs |= {"class": INPUT_CLASS, "autofocus": True}

    def get_users(self, email: str) -> Iterator[User]:
        return (person for person in super().get_users(email) if accounts.can_have_reset_link(person))

    def clean_email(self) -> str:
        email: str = self.cleaned_data["email"]
        try:
            self.attempt = throttle.begin_reset_link(self.request, email)
        except Refused as refusal:
            self.throttled = refusal
            if refusal.data["is_first"]:
                people: list[User | None] = list(self.get_users(email))
                for person in people or [None]:
                    self.record_refusal(refusal, person)
            raise ValidationError(refusal.message, code=refusal.code) from refusal
        return email

    def save(self, *args: Any, **options: Any) -> None:
        """Queue an email to each account with the address."""
        people = list(self.get_users(self.cleaned_data["email"]))
        for person in people:
            accounts.request_reset_link(person, by=sign_in.unknown_visitor(self.request, "not signed in"))
        if not people and not self.attempt.is_recorded:
            self.record_refusal(
                Refused("reset_link.unknown", "No account that signs in with a password has this email address.")
            )

    def record_refusal(self, refusal: Refused, person: User | None = None) -> None:
        # Without the address: people type passwords into the wrong field, and the trail can never be cleaned.
        name = {} if person else {"subject_name": "unknown account"}
        by = sign_in.unknown_visitor(self.request, "not signed in")
        with suppress(Refused), audit.act("person.reset_link", person, by=by, subject_kind="person", **name):
            raise refusal


class NewPasswordForm(SetPasswordForm[User]):
    """Asks for the new password; the service saves it."""

    def __init__(self, *args: Any, request: HttpRequest, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.request = request
        for field in self.fields.values():
            field.widget.attrs["class"] = INPUT_CLASS

    def save(self, commit: bool = True) -> User:
        by = sign_in.visitor_as(self.request, self.user)
        accounts.reset_password(self.user, self.cleaned_data["new_password1"], by=by)
        return self.user


class SitePage(ContextMixin):
    """A page in the look of the sign-in page."""

    request: HttpRequest

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        validity = notifications.describe_validity()
        return {**admin.site.each_context(self.request), "validity": validity, **super().get_context_data(**kwargs)}


class RequestView(SitePage, PasswordResetView):
    title = "Forgot your password?"
    template_name = "portal/password_reset/request.html"
    form_class = RequestForm

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def form_invalid(self, form: Any) -> HttpResponse:
        return sign_in.with_wait(super().form_invalid(form))


class RequestedView(SitePage, PasswordResetDoneView):
    title = "Check your email"
    template_name = "portal/password_reset/requested.html"


class ChooseView(SitePage, PasswordResetConfirmView):
    """Asks for the new password. Django moves the token of an opened link to the session, out of the address."""

    title = "Choose a new password"
    template_name = "portal/password_reset/choose.html"
    form_class = NewPasswordForm

    def get_user(self, uidb64: str) -> User | None:
        person: Any = super().get_user(uidb64)
        # An account without a usable password signs in elsewhere.
        is_open = person and person.is_active and person.is_staff and person.has_usable_password()
        return person if is_open else None

    def get_form_kwargs(self) -> dict[str, Any]:
        return super().get_form_kwargs() | {"request": self.request}

    def form_invalid(self, form: Any) -> HttpResponse:
        by = sign_in.visitor_as(self.request, form.user)
        with audit.act("person.own_password", form.user, by=by, subject_kind="person") as act:
            act.refusal = sign_in.errors_of(form)
        return super().form_invalid(form)

    def form_valid(self, form: Any) -> HttpResponse:
        try:
            return super().form_valid(form)
        except Refused:
            # Used meanwhile: the page says so, as for any other link that cannot be used.
            self.validlink = False
            return self.render_to_response(self.get_context_data())

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        context = super().get_context_data(**kwargs)
        return context if self.validlink else context | {"title": "This link cannot be used"}


class ChosenView(SitePage, PasswordResetCompleteView):
    title = "Your password is set"
    template_name = "portal/password_reset/chosen.html"
