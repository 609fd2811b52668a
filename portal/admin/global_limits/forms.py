"""The form of a new concurrency limit."""

from __future__ import annotations

from typing import Any

from django import forms

from flows.models import Environment
from flows.models.global_limit import TAG
from portal.admin.actions import LONGEST_REASON, LONGEST_TICKET
from runs.access.decisions import Permissions
from runs.errors import Refused
from runs.governance import limit_lifecycle

INPUT = {"class": "portal-input"}
PLAIN = {**INPUT, "autocomplete": "off", "spellcheck": "false"}
# Code of a refusal -> the field it is about; others are about the form.
FIELDS = {
    "limit.decay": "slot_decay_per_second",
    "limit.exists": "name",
    "limit.name": "name",
    "limit.number": "concurrency_limit",
    "limit.scoped": "environment",
    "reason.required": "reason",
    "ticket.required": "ticket",
    "ticket.format": "ticket",
    "access.no_grant": "environment",
    "access.denied": "environment",
}


class LimitForm(forms.Form):
    """The arguments of `limit_lifecycle.create`."""

    environment = forms.ModelChoiceField(Environment.objects.none(), empty_label=None, widget=forms.Select(INPUT))
    kind = forms.ChoiceField(
        label="Limits",
        choices=[("", "what asks for its slots by name"), (TAG, "task runs with a tag")],
        required=False,
        widget=forms.Select(INPUT),
    )
    name = forms.CharField(
        label="Name or tag", max_length=limit_lifecycle.LONGEST_NAME - len(TAG), widget=forms.TextInput(PLAIN)
    )
    concurrency_limit = forms.IntegerField(
        label="Concurrency limit",
        min_value=0,
        widget=forms.NumberInput(INPUT),
        help_text="Slots at a time. 0 stops everything that asks for one.",
    )
    slot_decay_per_second = forms.FloatField(
        label="Slot decay",
        min_value=0,
        initial=0,
        required=False,
        widget=forms.NumberInput({**INPUT, "step": "any"}),
        help_text="Slots a second that become free by themselves, for a rate limit. 0: a slot is free when it is "
        "given back.",
    )
    reason = forms.CharField(
        required=False, max_length=LONGEST_REASON, widget=forms.Textarea({**INPUT, "rows": 2}), help_text="If required."
    )
    ticket = forms.CharField(
        required=False, max_length=LONGEST_TICKET, widget=forms.TextInput(PLAIN), help_text="If required."
    )

    def __init__(self, permissions: Permissions, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial, use_required_attribute=False)
        choices = permissions.environments().filter(is_active=True)
        self.fields["environment"].queryset = choices  # type: ignore[attr-defined]  # a model's choices

    @property
    def limit_name(self) -> str:
        """The name in Prefect."""
        return f"{self.cleaned_data['kind']}{self.cleaned_data['name'].strip()}"

    @property
    def columns(self) -> dict[str, Any]:
        found = self.cleaned_data
        decay = float(found["slot_decay_per_second"] or 0)
        return {"concurrency_limit": found["concurrency_limit"], "slot_decay_per_second": decay}

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        self.add_error(FIELDS.get(refusal.code), forms.ValidationError(refusal.message, refusal.code))
