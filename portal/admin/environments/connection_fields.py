"""The fields of a connection to a Prefect server, checked alike when it is saved and when it is tested."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.urls import reverse
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from flows import server_identity
from flows.models import Server
from flows.models.server import validate_address
from runs.governance import configuration


def server_field(name: str, **options: Any) -> Any:
    """Return the form field of a column of the server."""
    return Server._meta.get_field(name).formfield(**options)  # type: ignore[union-attr]  # no relation is named here


class ConnectionTestWidget(forms.Widget):
    """A button that tests what is typed, and the result. Nothing is saved and nothing of the form is lost."""

    template_name = "portal/environment/_test_button.html"
    # The key of the environment whose stored credential can be used; None for a new one.
    environment: int | None = None

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        context: dict[str, Any] = super().get_context(name, None, attrs)
        return context | {"address": reverse("admin:flows_environment_test"), "environment": self.environment}

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return True


class ConnectionFields(forms.Form):
    """Where a server is and how the portal signs in there. `stored_server` has what is stored of it."""

    # A form runs the validators of its own model only.
    api_url = server_field("api_url", widget=UnfoldAdminTextInputWidget(), validators=[validate_address])
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

    @property
    def stored_server(self) -> Server:
        raise NotImplementedError

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
        return values

    def check_stored(self, values: dict[str, Any]) -> None:
        """Add an error unless the stored credential can be used with the new kind and address."""
        stored = self.stored_server
        if not stored.sealed_credential or stored.credential_kind != values.get("credential_kind"):
            self.add_error(
                "new_credential", forms.ValidationError("Enter the credential. None of this kind is stored.", "missing")
            )
        elif "api_url" in values and not server_identity.is_same_address(stored.api_url, values["api_url"]):
            self.add_error("new_credential", forms.ValidationError(configuration.REENTER, "credential.reenter"))


class ConnectionForm(ConnectionFields):
    """What is typed of a connection, to be tested."""

    def __init__(self, data: Any, stored: Server | None) -> None:
        super().__init__(data)
        self.stored = stored or Server()

    @property
    def stored_server(self) -> Server:
        return self.stored
