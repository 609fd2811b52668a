"""The form of an agent: its purpose and its budget."""

from __future__ import annotations

from typing import Any

from django import forms

from runs.errors import Refused
from runs.governance import agents
from runs.models import Agent

INPUT = {"class": "portal-input"}
# Code of a refusal -> the field it is about.
FIELDS = {"agent.name": "name", "agent.purpose_required": "purpose", "agent.budget": "requests_per_day"}


class AgentForm(forms.Form):
    """The arguments of `agents.create` for a new agent, and of `change` for an existing one."""

    name = forms.CharField(
        max_length=60,
        widget=forms.TextInput({**INPUT, "autocomplete": "off", "spellcheck": "false"}),
        help_text="Lower-case letters, digits, dots, dashes and underscores, such as month-end. It cannot be changed "
        "later.",
    )
    purpose = forms.CharField(
        max_length=agents.MAX_PURPOSE_LENGTH,
        widget=forms.Textarea({**INPUT, "rows": 2}),
        help_text="What the agent is for, for those who approve its requests.",
    )
    requests_per_day = forms.IntegerField(
        label="Requests a day",
        min_value=0,
        max_value=agents.MOST_PER_DAY,
        initial=20,
        widget=forms.NumberInput(INPUT),
        help_text="Runs and cancellations that it can ask for in 24 hours; each item of a backfill and each step "
        "of a chain is a run. 0 = it only reads.",
    )
    requests_at_once = forms.IntegerField(
        label="Open runs at a time",
        min_value=0,
        max_value=agents.MOST_AT_ONCE,
        initial=3,
        widget=forms.NumberInput(INPUT),
        help_text="Runs that it requested and that wait, are queued or are running.",
    )

    def __init__(self, data: Any = None, *, agent: Agent | None = None) -> None:
        super().__init__(data, initial=values_of(agent) if agent else None, use_required_attribute=False)
        if agent:
            del self.fields["name"]

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        field = FIELDS.get(refusal.code)
        self.add_error(field if field in self.fields else None, forms.ValidationError(refusal.message, refusal.code))


def values_of(agent: Agent) -> dict[str, Any]:
    return {name: getattr(agent, name) for name in ("purpose", "requests_per_day", "requests_at_once")}
