"""The form of an environment: its Prefect server, credential and rules."""

from __future__ import annotations

from copy import copy
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.forms.models import construct_instance, model_to_dict
from unfold.widgets import (
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from flows import scopes, server_identity
from flows.models import Environment, Server
from flows.models.server import validate_address
from portal.admin.environments.lines_field import LinesField
from portal.admin.loosening_fields import LooseningFields
from runs.governance import configuration

ABOUT = ["slug", "description", "position", "is_active"]
RULES = ["is_protected", "needs_approval", "approval_minutes", "independence_hours", "needs_reason"]
STALLS = ["pending_minutes", "late_minutes", "silent_minutes", "cancelling_minutes", "puts_back"]
RETENTION = ["keep_runs_days", "keep_events_days"]
SERVER = [*configuration.SERVER, "new_credential"]
SCOPE = ["scope_kind", "scope_values"]


def server_field(name: str, **options: Any) -> Any:
    """Return the form field of a column of the server."""
    return Server._meta.get_field(name).formfield(**options)  # type: ignore[union-attr]  # no relation is named here


class EnvironmentForm(LooseningFields, forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument when it runs
    """Edits an environment and its server as one; the service saves both."""

    retype = "Enter the credential again if you changed it."
    # A form runs the validators of its own model only.
    api_url = server_field("api_url", widget=UnfoldAdminTextInputWidget(), validators=[validate_address])
    ui_url = server_field("ui_url", widget=UnfoldAdminTextInputWidget(), validators=[validate_address])
    credential_kind = server_field("credential_kind", widget=UnfoldAdminSelectWidget())
    # Not named after the model's property: as a read-only field, Django would render the decrypted secret.
    new_credential = forms.CharField(
        label="Credential",
        required=False,
        max_length=4000,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}, render_value=False),
        help_text="user:password, or the Cloud API key. Stored encrypted and never displayed. "
        "Blank = keep the stored credential.",
    )
    scope_values = LinesField(
        label="Scope values",
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "spellcheck": "false"}),
        help_text="One a line: names of work pools, tags, or patterns of full names, in which * stands for any "
        "characters. Blank for the whole server.",
    )

    class Meta:
        model = Environment
        fields = [*ABOUT, *SCOPE, *RULES, *STALLS, *RETENTION]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A form that is sent without it, such as by a script, keeps what is stored.
        self.fields["scope_kind"].required = False
        self.initial = {**model_to_dict(self.stored_server, configuration.SERVER), **self.initial}

    @property
    def stored_server(self) -> Server:
        """The server as it is stored; an empty one for a new environment."""
        return self.instance.server if self.instance.pk else Server()

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
        if kind == Server.CredentialKind.NONE and typed:
            self.add_error("credential_kind", forms.ValidationError("Select the kind of credential.", "kind"))
        elif kind == Server.CredentialKind.BASIC and typed and ":" not in typed:
            self.add_error("new_credential", forms.ValidationError("Enter it as user:password.", "format"))
        elif kind != Server.CredentialKind.NONE and not typed:
            self.check_stored(values)
        if not self.errors and (mistake := scopes.mistake(self.preview().scope)):
            self.add_error("scope_values", forms.ValidationError(mistake, "scope.values"))
        # Only for a form that is valid otherwise: one thing at a time.
        if not self.errors:
            stored = Environment.objects.select_related("server").filter(pk=self.instance.pk).first()
            self.require_confirmed(configuration.loosened_by(stored, self.preview()))
        return values

    def preview(self) -> Environment:
        """Return the environment and its server as the form would save them."""
        # Copies: Django writes the values into the form's own instance only after this.
        environment: Environment = construct_instance(self, copy(self.instance))
        server: Server = construct_instance(self, copy(self.stored_server))
        if self.cleaned_data["credential_kind"] == Server.CredentialKind.NONE:
            server.credential = ""
        elif self.cleaned_data["new_credential"]:
            server.credential = self.cleaned_data["new_credential"]
        environment.server = server
        return environment

    def check_stored(self, values: dict[str, Any]) -> None:
        """Add an error unless the stored credential can be used with the new kind and address."""
        stored = self.stored_server
        if not stored.sealed_credential or stored.credential_kind != values.get("credential_kind"):
            self.add_error(
                "new_credential", forms.ValidationError("Enter the credential. None of this kind is stored.", "missing")
            )
        elif "api_url" in values and not server_identity.is_same_address(stored.api_url, values["api_url"]):
            self.add_error("new_credential", forms.ValidationError(configuration.REENTER, "credential.reenter"))

    def save(self, commit: bool = True) -> Environment:
        environment: Environment = super().save(commit=False)
        environment.server = self.preview().server
        return environment
