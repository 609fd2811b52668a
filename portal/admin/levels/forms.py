"""The form of a new service level."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib.auth.models import User

from flows.models import Environment
from portal.admin import double_submit
from runs import levels, names
from runs.access.decisions import Permissions
from runs.errors import Refused
from runs.models import ServiceLevel

INPUT = {"class": "portal-input"}
PLAIN = {**INPUT, "autocomplete": "off", "spellcheck": "false"}
# Code of a refusal -> the field it is about; others are about the form.
FIELDS = {
    "level.days": "days",
    "level.deployment": "full_name",
    "level.kind": "kind",
    "level.owner": "owner",
    "level.runbook": "runbook",
    "level.threshold": "threshold",
    "user.unknown": "owner",
    "access.no_grant": "environment",
    "access.denied": "environment",
}


class LevelForm(forms.Form):
    """The arguments of `levels.create`."""

    environment = forms.ModelChoiceField(Environment.objects.none(), empty_label=None, widget=forms.Select(INPUT))
    kind = forms.ChoiceField(label="Breached if it", choices=ServiceLevel.Kind.choices, widget=forms.Select(INPUT))
    threshold = forms.FloatField(
        widget=forms.NumberInput({**INPUT, "step": "any", "min": "0"}),
        help_text="; ".join(f"{kind.label}: {unit}" for kind, (unit, _) in levels.UNITS.items()) + ".",
    )
    days = forms.IntegerField(
        required=False,
        min_value=0,
        widget=forms.NumberInput(INPUT),
        help_text=f"Only for “{ServiceLevel.Kind.FAILING.label}”: the runs of so many days, up to {levels.MOST_DAYS}.",
    )
    full_name = forms.CharField(
        label="Deployment",
        required=False,
        max_length=601,
        widget=forms.TextInput(PLAIN),
        help_text="flow/deployment. Blank: all deployments of the environment.",
    )
    tag = forms.CharField(
        required=False,
        max_length=300,
        widget=forms.TextInput(PLAIN),
        help_text="Only deployments with this tag. Blank: with any tags.",
    )
    owner = forms.CharField(
        required=False, max_length=150, widget=forms.TextInput(PLAIN), help_text="User name of who looks after it."
    )
    runbook = forms.CharField(
        required=False,
        max_length=500,
        widget=forms.URLInput(PLAIN),
        help_text="Address of what to do, shown with each breach and on the page of the deployment.",
    )

    def __init__(self, permissions: Permissions, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.fields["environment"].queryset = permissions.environments()  # type: ignore[attr-defined]  # a model's choices

    def newest(self) -> int:
        """Return the key of the newest level: what the page knew when it was opened."""
        return double_submit.newest(ServiceLevel.objects.all())

    def is_repeated(self) -> bool:
        """Return whether the form was sent before: there is a newer level of these values than the page knew."""
        values = self.arguments()
        same = {name: values[name] for name in ("environment", "kind", "threshold", "full_name", "tag")}
        rows = ServiceLevel.objects.filter(**same, removed_at=None)
        return double_submit.created_since(rows, self.data.get("newest")).exists()

    def arguments(self) -> dict[str, Any]:
        values = dict(self.cleaned_data)
        values["days"] = values["days"] or 0
        return {name: value.strip() if isinstance(value, str) else value for name, value in values.items()}

    def owner_of(self) -> User | None:
        name = self.cleaned_data["owner"].strip()
        return names.user(name) if name else None

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        self.add_error(FIELDS.get(refusal.code), forms.ValidationError(refusal.message, refusal.code))
