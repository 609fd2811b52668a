"""The forms of the profile: time zone and email address."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError

from portal.admin.loosening_fields import INPUT, LooseningFields
from portal.auth import throttle
from runs.errors import Refused
from runs.governance import accounts
from runs.models import EmailSettings
from runs.notifications.email_choices import MOST_MERGE_MINUTES, settings_of


class TimeZoneForm(forms.Form):
    time_zone = forms.CharField(
        label="Time zone",
        required=False,
        max_length=60,
        widget=forms.TextInput({**INPUT, "list": "time-zones", "placeholder": "Europe/Vienna"}),
    )


class NameForm(forms.Form):
    """The name that pages show beside the user name: the arguments of `accounts.change_own_name`."""

    first_name = forms.CharField(
        label="First name",
        required=False,
        max_length=150,
        widget=forms.TextInput({**INPUT, "autocomplete": "given-name"}),
    )
    last_name = forms.CharField(
        label="Last name",
        required=False,
        max_length=150,
        widget=forms.TextInput({**INPUT, "autocomplete": "family-name"}),
    )

    @classmethod
    def of(cls, person: User) -> NameForm:
        return cls(initial={"first_name": person.first_name, "last_name": person.last_name})


class EmailTimesForm(forms.Form):
    """When the person's email is sent: the arguments of `email_choices.choose`."""

    quiet_from = forms.TimeField(
        label="Quiet from", required=False, widget=forms.TimeInput({**INPUT, "type": "time"}, format="%H:%M")
    )
    quiet_until = forms.TimeField(
        label="Quiet until",
        required=False,
        widget=forms.TimeInput({**INPUT, "type": "time"}, format="%H:%M"),
        help_text="What comes in these hours is sent at their end, in one email. Blank: no quiet hours.",
    )
    digest = forms.ChoiceField(
        label="Send", required=False, choices=EmailSettings.Digest.choices, widget=forms.Select(INPUT)
    )
    digest_hour = forms.IntegerField(
        label="Hour of the daily email", min_value=0, max_value=23, widget=forms.NumberInput(INPUT)
    )
    merge_minutes = forms.IntegerField(
        label="Count repeated messages as one for (minutes)",
        min_value=0,
        max_value=MOST_MERGE_MINUTES,
        widget=forms.NumberInput(INPUT),
        help_text="0: each is a message of its own.",
    )
    urgent_at_once = forms.BooleanField(
        label="Send approvals and overrides at once, also in quiet hours", required=False
    )

    @classmethod
    def of(cls, person: User) -> EmailTimesForm:
        return cls(initial={name: getattr(settings_of(person), name) for name in cls.base_fields})


class EmailForm(LooseningFields):
    """Asks for the address and the password: an unattended browser must not move the links for new passwords."""

    retype = "Enter your password again."
    throttled: Refused | None = None

    email = forms.EmailField(
        label="Email address",
        required=False,
        max_length=254,
        widget=forms.EmailInput({**INPUT, "autocomplete": "email"}),
    )
    password = forms.CharField(
        label="Your password",
        strip=False,
        widget=forms.PasswordInput({"class": "portal-input", "autocomplete": "current-password"}),
    )

    def __init__(self, person: User, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.person = person
        if not person.has_usable_password():
            # Signs in elsewhere, and no link for a password is ever sent.
            del self.fields["password"]

    def clean_password(self) -> str:
        try:
            attempt = throttle.begin_own_password(self.person.pk)
        except Refused as refusal:
            self.throttled = refusal
            raise ValidationError(refusal.message, code=refusal.code) from refusal
        password: str = self.cleaned_data["password"]
        if not self.person.check_password(password):
            raise ValidationError("This is not your password.", code="password_incorrect")
        attempt.succeed()
        return password

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            self.require_confirmed(accounts.loosened_by_email(self.person, values["email"]))
        return values
