"""Everything about a wished run that is not a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from portal.admin.actions import LONGEST_REASON
from runs.errors import Refused
from runs.governance.requirements import Requirements

NOW, LATER = "now", "later"
STARTS = {NOW: "Now", LATER: "Later"}
MOST_TAGS, LONGEST_TAG = 20, 100
# The two clocks are those of the browser and of the portal.
SLACK = timedelta(minutes=2)
INPUT = {"class": "portal-input"}


def text_input(**options: Any) -> forms.CharField:
    return forms.CharField(required=False, widget=forms.TextInput(attrs=INPUT), **options)


class RunOptionsForm(forms.Form):
    """`starts` are the times that the reader may ask for; `rules` say what a run must be asked for with."""

    start = forms.ChoiceField(widget=forms.RadioSelect, required=False)
    scheduled_for = forms.DateTimeField(
        label="Date and time",
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"],
        widget=forms.DateTimeInput(format="%Y-%m-%dT%H:%M", attrs={**INPUT, "type": "datetime-local"}),
        error_messages={"invalid": "Enter the date and time as 2026-01-31 14:30."},
    )
    reason = forms.CharField(
        required=False,
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={**INPUT, "rows": 2}),
        help_text="Kept with the request and in the audit trail.",
    )
    ticket = text_input(max_length=100)
    run_name = text_input(max_length=200, help_text="Left empty, Prefect makes one up.")
    tags = text_input(max_length=2000, help_text="Separated by commas; added to those of the deployment.")
    on_behalf_of = text_input(
        max_length=150, help_text="The user name of whoever you act for, if anybody. They cannot approve it either."
    )
    overrides = forms.BooleanField(
        label="Go anyway",
        required=False,
        widget=forms.CheckboxInput,
        help_text="Start in spite of change windows and freezes. It takes a reason, and is marked on the run.",
    )

    def __init__(
        self,
        rules: Requirements,
        starts: Sequence[str],
        data: Any = None,
        initial: Any = None,
        *,
        offers_override: bool,
    ) -> None:
        super().__init__(data, initial={"start": starts[0], **(initial or {})}, use_required_attribute=False)
        self.rules = rules
        choices = [(start, STARTS[start]) for start in starts]
        self.fields["start"].choices = choices  # type: ignore[attr-defined]  # of a ChoiceField
        self.fields["scheduled_for"].help_text = f"In the portal's time zone, {timezone.get_current_timezone_name()}."
        reason, ticket = self.fields["reason"], self.fields["ticket"]
        reason.required, ticket.required = rules.needs_reason, rules.needs_ticket
        reason.error_messages["required"] = f"{rules.place} wants a reason with every run: one sentence on why."
        ticket.error_messages["required"] = f"{rules.place} wants a ticket with every run."
        if rules.ticket_patterns:
            self.fields["ticket"].help_text = f"It must fit {' and '.join(rules.ticket_patterns)}."
        if not offers_override:
            del self.fields["overrides"]

    @property
    def has_details(self) -> bool:
        """Whether something is filled in, or wrong, in the part that is folded away."""
        return bool(self["on_behalf_of"].value() or self["on_behalf_of"].errors)

    @property
    def run_request(self) -> dict[str, Any]:
        """What a draft takes; the form is valid."""
        kept = {name: self.cleaned_data[name] for name in ("scheduled_for", "reason", "ticket", "run_name")}
        return kept | {
            "tags": tuple(self.cleaned_data["tags"]),
            "on_behalf_of": self.cleaned_data["on_behalf_of"],
            "overrides_windows": self.cleaned_data.get("overrides", False),
        }

    def clean_tags(self) -> list[str]:
        tags = [tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()]
        if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
            raise forms.ValidationError(f"At most {MOST_TAGS} tags of {LONGEST_TAG} characters each.")
        return tags

    def clean_ticket(self) -> str:
        ticket: str = self.cleaned_data["ticket"]
        try:
            self.rules.require_reason_and_ticket("run", reason="said elsewhere", ticket=ticket)
        except Refused as refusal:
            raise forms.ValidationError(refusal.message, refusal.code) from refusal
        return ticket

    def clean_on_behalf_of(self) -> User | None:
        name = self.cleaned_data["on_behalf_of"]
        if not name:
            return None
        found = User.objects.filter(username=name, is_active=True).first()
        if found is None:
            raise forms.ValidationError("Nobody signs in here by that name.")
        return found

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("overrides") and not values.get("reason") and "reason" not in self.errors:
            self.add_error("reason", "Give a reason for starting outside the change window.")
        if values.get("start") != LATER:
            values["scheduled_for"] = None
        elif "scheduled_for" in values and "scheduled_for" not in self.errors:
            moment = values["scheduled_for"]
            if moment is None:
                self.add_error("scheduled_for", "Say when it is to start, or choose “Now”.")
            elif moment < timezone.now() - SLACK:
                self.add_error("scheduled_for", "That moment has passed. Choose a later one, or “Now”.")
        return values
