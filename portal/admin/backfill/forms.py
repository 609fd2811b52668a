"""The two forms of a backfill: what varies over which values, and how its runs are started."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from flows.models import Deployment
from portal.admin.run_form.forms import INPUT, NOW, RunOptionsForm
from runs import requests
from runs.errors import Refused
from runs.governance.requirements import Requirements
from runs.models import ChangeRequest
from runs.requests.backfill_plan import values_to_vary

OnFailure = ChangeRequest.OnFailure
PACES = [
    (OnFailure.STOP.value, "Stop: start no more until someone resumes it"),
    (OnFailure.GO_ON.value, "Go on with the next"),
]
LONGEST_VALUES = 20_000


class RangesForm(forms.Form):
    """Sent as a query, so that a link can hold it; `vary` is what was chosen, for a valid form."""

    first = forms.ChoiceField(label="Parameter")
    first_values = forms.CharField(
        label="Values",
        max_length=LONGEST_VALUES,
        widget=forms.Textarea(attrs={**INPUT, "rows": 2}),
        help_text="2026-01..2026-06 for months, 2026-01-01..2026-03-31/7 for every seventh date, 1..50 for whole "
        "numbers, or values with commas between them or one a line.",
    )
    second = forms.ChoiceField(label="Second parameter", required=False)
    second_values = forms.CharField(
        label="Values of the second parameter",
        required=False,
        max_length=LONGEST_VALUES,
        widget=forms.Textarea(attrs={**INPUT, "rows": 2}),
        help_text="Every combination of the two is one run.",
    )

    def __init__(self, deployment: Deployment, names: list[str], data: Any = None) -> None:
        super().__init__(data, use_required_attribute=False)
        self.deployment = deployment
        self.vary: dict[str, str] = {}
        choices = [(name, name) for name in names]
        for field, found in (("first", choices), ("second", [("", "None"), *choices])):
            self.fields[field].widget = forms.Select(attrs=INPUT)
            self.fields[field].choices = found  # type: ignore[attr-defined]  # of a ChoiceField

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if self.errors:
            return values
        self.vary = {values["first"]: values["first_values"]}
        if values["second"] and values["second"] == values["first"]:
            self.add_error("second", forms.ValidationError("Choose another parameter than the first.", "second.same"))
            return values
        if values["second"]:
            self.vary[values["second"]] = values["second_values"]
        for name, field in zip(self.vary, ("first_values", "second_values"), strict=False):
            try:
                values_to_vary(self.deployment, {}, {name: self.vary[name]})
            except Refused as refusal:
                self.add_error(field, forms.ValidationError(refusal.message, refusal.code))
        if not self.errors:
            try:
                values_to_vary(self.deployment, {}, self.vary)
            except Refused as refusal:
                self.add_error("first_values", forms.ValidationError(refusal.message, refusal.code))
        return values


class BackfillOptionsForm(RunOptionsForm):
    """The options of a run that a backfill has too, and its own; it starts as soon as it may."""

    at_once = forms.IntegerField(
        label="Runs at a time",
        min_value=1,
        max_value=requests.MOST_ITEMS,
        initial=requests.AT_ONCE,
        widget=forms.NumberInput(attrs=INPUT),
        help_text="The next one starts when one of these has ended.",
    )
    on_failure = forms.ChoiceField(
        label="When a run does not complete", choices=PACES, initial=OnFailure.STOP.value, widget=forms.RadioSelect
    )
    skip_completed = forms.BooleanField(
        label="Skip what completed",
        required=False,
        initial=True,
        widget=forms.CheckboxInput,
        help_text="Leaves out items whose last run with exactly these values completed.",
    )
    skip_open = forms.BooleanField(
        label="Skip what is running or waiting",
        required=False,
        initial=True,
        widget=forms.CheckboxInput,
        help_text="Leaves out items with an open run or request with exactly these values.",
    )

    def __init__(
        self,
        rules: Requirements,
        data: Any = None,
        initial: Any = None,
        *,
        offers_override: bool,
        profiles: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(rules, [NOW], data, initial, offers_override=offers_override, profiles=profiles)
        for name in ("start", "scheduled_for", "run_name", "retries"):
            self.fields.pop(name, None)

    @property
    def choices(self) -> dict[str, Any]:
        """What was chosen, as a draft holds it; only for a valid form."""
        found = {name: value for name, value in self.cleaned_data.items() if name in self.fields}
        behalf = found["on_behalf_of"]
        return {**found, "on_behalf_of": behalf.pk if behalf else None, "overrides": found.get("overrides", False)}
