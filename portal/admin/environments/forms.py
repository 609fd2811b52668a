"""The form of an environment: its Prefect server, credential and rules."""

from __future__ import annotations

from copy import copy
from typing import Any

from django import forms
from django.forms.models import construct_instance, model_to_dict
from django.utils.text import slugify
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from flows import scopes
from flows.models import Environment, Server
from flows.models.server import validate_address
from portal.admin.environments.connection_fields import ConnectionFields, ConnectionTestWidget, server_field
from portal.admin.environments.lines_field import LinesField
from portal.admin.loosening_fields import LooseningFields
from runs.errors import Refused
from runs.governance import configuration
from runs.governance.display_names import require_own_name

ABOUT = ["display_name", "slug", "description", "position", "is_active"]
RULES = ["is_protected", "needs_approval", "approval_minutes", "independence_hours", "needs_reason"]
STALLS = ["pending_minutes", "late_minutes", "silent_minutes", "cancelling_minutes", "puts_back"]
RETENTION = ["keep_runs_days", "keep_events_days"]
SERVER = [*configuration.SERVER, "new_credential", "connection_test"]
SCOPE = ["scope_kind", "scope_values"]


class EnvironmentForm(ConnectionFields, LooseningFields, forms.ModelForm):  # type: ignore[type-arg]  # Django's class takes no argument when it runs
    """Edits an environment and its server as one; the service saves both."""

    retype = "Enter the credential again if you changed it."
    # Blank it is made from the display name, for which any text is accepted.
    slug = forms.CharField(
        label="Name",
        required=False,
        max_length=40,
        widget=UnfoldAdminTextInputWidget(),
        help_text="In grants, commands and the API: letters, digits, hyphens and underscores. "
        "Blank = made from the display name.",
    )
    ui_url = server_field("ui_url", widget=UnfoldAdminTextInputWidget(), validators=[validate_address])
    connection_test = forms.Field(label="Connection", required=False, widget=ConnectionTestWidget())
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
        self.fields["connection_test"].widget.environment = self.instance.pk
        self.initial = {**model_to_dict(self.stored_server, configuration.SERVER), **self.initial}

    @property
    def stored_server(self) -> Server:
        """The server as it is stored; an empty one for a new environment."""
        return self.instance.server if self.instance.pk else Server()

    def clean_slug(self) -> str:
        # One that has a name keeps it.
        slug: str = self.cleaned_data["slug"].strip() or self.instance.slug
        slug = slug or slugify(self.data.get("display_name", ""))[:40]
        if not slug:
            raise forms.ValidationError("Enter a name. It cannot be made from the display name.", "required")
        return slug

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if not self.errors and (mistake := scopes.mistake(self.preview().scope)):
            self.add_error("scope_values", forms.ValidationError(mistake, "scope.values"))
        if not self.errors:
            try:
                require_own_name(self.preview())
            except Refused as refusal:
                self.add_error("display_name", forms.ValidationError(refusal.message, refusal.code))
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

    def save(self, commit: bool = True) -> Environment:
        environment: Environment = super().save(commit=False)
        environment.server = self.preview().server
        return environment
