"""The options of a run: everything in the form that is not a parameter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.utils import timezone

from portal.admin.actions import LONGEST_REASON
from portal.admin.moment_field import MomentField
from portal.admin.run_form import tickets
from runs import requests
from runs.errors import Refused
from runs.governance.requirements import Requirements

NOW, LATER = "now", "later"
STARTS = {NOW: "Now", LATER: "Later"}
MOST_TAGS, LONGEST_TAG = 20, 100
INPUT = {"class": "portal-input"}
# The folded fields.
DETAILS = ("on_behalf_of", "retries")


def text_input(**options: Any) -> forms.CharField:
    return forms.CharField(required=False, widget=forms.TextInput(attrs=INPUT), **options)


class RunOptionsForm(forms.Form):
    """`starts` are the values of `STARTS` that the user can request; `rules` decide which fields are required."""

    start = forms.ChoiceField(widget=forms.RadioSelect, required=False)
    scheduled_for = MomentField(label="Date and time", attrs=INPUT)
    reason = forms.CharField(
        required=False,
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={**INPUT, "rows": 2}),
        help_text="Recorded with the request and in the audit trail.",
    )
    ticket = text_input(max_length=100)
    run_name = text_input(max_length=200, help_text="Blank: generated.")
    profile = forms.ChoiceField(
        label="Resource profile",
        required=False,
        widget=forms.Select(attrs=INPUT),
        help_text="Job variables that replace those of the deployment.",
    )
    tags = text_input(max_length=2000, help_text="Comma-separated; added to the tags of the deployment.")
    on_behalf_of = text_input(
        max_length=150,
        help_text="Username of the person you are acting for (optional). They cannot approve the request either.",
    )
    retries = forms.IntegerField(
        label="Retries to approve with it",
        required=False,
        min_value=0,
        max_value=requests.MOST_RETRIES,
        widget=forms.NumberInput(attrs=INPUT),
        help_text="How often the run may be retried in place, if it fails, without another approval. Blank: 0.",
    )
    overrides = forms.BooleanField(
        label="Override change window",
        required=False,
        widget=forms.CheckboxInput,
        help_text="Start regardless of change windows and freezes. Requires a reason; the run is marked.",
    )

    def __init__(
        self,
        rules: Requirements,
        starts: Sequence[str],
        data: Any = None,
        initial: Any = None,
        *,
        offers_override: bool,
        profiles: Sequence[tuple[str, str]] = (),
    ) -> None:
        # 1. No `required` attributes: the browser would stop at the first empty field, the server reports all errors.
        #    People who can only schedule runs start with “Later”.
        super().__init__(data, initial={"start": starts[0], **(initial or {})}, use_required_attribute=False)
        self.rules = rules
        # 2. What this user can choose, and what this deployment requires.
        choices = [(start, STARTS[start]) for start in starts]
        self.fields["start"].choices = choices  # type: ignore[attr-defined]  # of a ChoiceField
        self.fields["scheduled_for"].help_text = f"In the portal's time zone, {timezone.get_current_timezone_name()}."
        reason, ticket = self.fields["reason"], self.fields["ticket"]
        reason.required, ticket.required = rules.needs_reason, rules.needs_ticket
        reason.error_messages["required"] = f"A reason is required in {rules.place}."
        ticket.error_messages["required"] = f"A ticket is required in {rules.place}."
        if rules.ticket_patterns:
            self.fields["ticket"].help_text = tickets.describe(rules.ticket_patterns)
        # 3. Removed rather than disabled, so that a value sent for it is ignored.
        if not offers_override:
            del self.fields["overrides"]
        if not rules.stages:
            del self.fields["retries"]
        self.fields["profile"].choices = [("", "None: as deployed"), *profiles]  # type: ignore[attr-defined]  # of a ChoiceField
        if not profiles:
            del self.fields["profile"]

    @property
    def has_details(self) -> bool:
        """Whether the folded part holds a value or an error, which must be visible."""
        return any(self[name].value() or self[name].errors for name in DETAILS if name in self.fields)

    @property
    def run_options(self) -> dict[str, Any]:
        """The arguments for a `Draft`; only for a valid form."""
        options = {name: self.cleaned_data[name] for name in ("scheduled_for", "reason", "ticket", "run_name")}
        return options | {
            "tags": tuple(self.cleaned_data["tags"]),
            "on_behalf_of": self.cleaned_data["on_behalf_of"],
            "overrides_windows": self.cleaned_data.get("overrides", False),
            "retries": self.cleaned_data.get("retries") or 0,
            "profile": self.cleaned_data.get("profile", ""),
        }

    def clean_tags(self) -> list[str]:
        tags = [tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()]
        if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
            raise forms.ValidationError(f"At most {MOST_TAGS} tags of {LONGEST_TAG} characters each.", "tags.too_many")
        return tags

    def clean_ticket(self) -> str:
        ticket: str = self.cleaned_data["ticket"]
        try:
            # A missing reason is an error of its own field, so the ticket is checked as if there were one.
            self.rules.require_reason_and_ticket("run", reason="checked elsewhere", ticket=ticket)
        except Refused as refusal:
            raise forms.ValidationError(refusal.message, refusal.code) from refusal
        return ticket

    def clean_on_behalf_of(self) -> User | None:
        name = self.cleaned_data["on_behalf_of"]
        if not name:
            return None
        found = User.objects.filter(username=name, is_active=True).first()
        if found is None:
            raise forms.ValidationError("No active user has this name.", "user.unknown")
        return found

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("overrides") and not values.get("reason") and "reason" not in self.errors:
            message = "Give a reason for starting outside the change window."
            self.add_error("reason", forms.ValidationError(message, "window.reason_required"))
        # A time that was typed before “Now” was chosen is ignored.
        if values.get("start") != LATER:
            values["scheduled_for"] = None
            self.errors.pop("scheduled_for", None)
        elif "scheduled_for" in values and "scheduled_for" not in self.errors:
            moment = values["scheduled_for"]
            if moment is None:
                message = "Enter a start time, or choose “Now”."
                self.add_error("scheduled_for", forms.ValidationError(message, "required"))
            elif requests.has_passed(moment):
                message = "This time has passed. Choose a later time, or “Now”."
                self.add_error("scheduled_for", forms.ValidationError(message, "start.past"))
        return values
