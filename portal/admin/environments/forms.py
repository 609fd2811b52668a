"""The form of an environment: its Prefect server, credential and rules."""

from __future__ import annotations

from copy import copy
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.forms.models import construct_instance
from unfold.widgets import UnfoldAdminPasswordWidget

from flows import server_identity
from flows.models import Environment
from portal.admin.loosening_fields import LooseningFields
from runs.governance import configuration
from runs.governance.loosening import loosened

ABOUT = ["slug", "description", "colour", "position", "is_active"]
RULES = ["is_protected", "needs_approval", "approval_minutes", "independence_hours", "needs_reason"]
STALLS = ["pending_minutes", "late_minutes", "silent_minutes", "cancelling_minutes", "puts_back"]
SERVER = ["api_url", "ui_url", "credential_kind", "new_credential"]


class EnvironmentForm(LooseningFields, forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument when it runs
    retype = "Enter the credential again if you changed it."
    # Not named after the model's property: as a read-only field, Django would render the decrypted secret.
    new_credential = forms.CharField(
        label="Credential",
        required=False,
        max_length=4000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text="user:password, or the Cloud API key. Stored encrypted and never displayed. "
        "Blank = keep the stored credential.",
    )

    class Meta:
        model = Environment
        fields = [*ABOUT, *SERVER[:3], *RULES, *STALLS]

    def clean_api_url(self) -> str:
        url: str = self.cleaned_data["api_url"].rstrip("/")
        parts = urlsplit(url)
        # The URL is displayed and logged in clear text; the credential field is encrypted.
        if "@" in parts.netloc:
            raise forms.ValidationError(
                "Enter the user and password in the credential field, not in the URL.", "userinfo"
            )
        if parts.query or parts.fragment:
            raise forms.ValidationError("The URL must not contain ? or #.", "query")
        return url

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        kind, typed = values.get("credential_kind"), values.get("new_credential")
        stored = bool(self.instance.sealed_credential)
        if kind == Environment.CredentialKind.NONE and typed:
            self.add_error("credential_kind", forms.ValidationError("Select the kind of credential.", "kind"))
        elif kind == Environment.CredentialKind.BASIC and typed and ":" not in typed:
            self.add_error("new_credential", forms.ValidationError("Enter it as user:password.", "format"))
        elif kind != Environment.CredentialKind.NONE and not typed:
            self.check_stored(values, stored)
        # Only for a form that is valid otherwise: one thing at a time.
        if not self.errors and self.instance.pk:
            self.require_confirmed(loosened(Environment.objects.get(pk=self.instance.pk), self.preview()))
        return values

    def preview(self) -> Environment:
        """Return the environment as the form would save it."""
        # A copy: Django writes the values into the form's own instance only after this.
        environment: Environment = construct_instance(self, copy(self.instance))
        if self.cleaned_data["credential_kind"] == Environment.CredentialKind.NONE:
            environment.credential = ""
        elif self.cleaned_data["new_credential"]:
            environment.credential = self.cleaned_data["new_credential"]
        return environment

    def check_stored(self, values: dict[str, Any], stored: bool) -> None:
        """Add an error unless the stored credential can be used with the new kind and address."""
        # Read again: the instance already has the form's values.
        before = Environment.objects.get(pk=self.instance.pk) if self.instance.pk else None
        if not stored or before is None or before.credential_kind != values.get("credential_kind"):
            self.add_error(
                "new_credential", forms.ValidationError("Enter the credential. None of this kind is stored.", "missing")
            )
        elif "api_url" in values and not server_identity.is_same_address(before.api_url, values["api_url"]):
            self.add_error("new_credential", forms.ValidationError(configuration.REENTER, "credential.reenter"))

    def save(self, commit: bool = True) -> Environment:
        environment: Environment = super().save(commit=False)
        environment.sealed_credential = self.preview().sealed_credential
        return environment
