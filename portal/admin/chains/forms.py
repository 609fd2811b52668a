"""The forms of a chain: its steps as a table or as JSON, and the request of a run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms

from flows.models import Environment
from flows.wording import deployment_name
from portal.admin.chains import step_text
from portal.admin.run_form import profile_choice
from portal.admin.run_form.forms import NOW, RunOptionsForm
from portal.ui.text import number
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation.chain_definition import LONGEST, MOST_MINUTES, MOST_STEPS, Step
from runs.automation.chains import LONGEST_DESCRIPTION
from runs.errors import Refused
from runs.governance.requirements import Requirements
from runs.models import ResourceProfile, Verb
from runs.models.chain import LONGEST_KEY, LONGEST_NAME
from runs.requests import MOST_RETRIES, profile_rules

INPUT = {"class": "portal-input"}
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
CODE = {**INPUT, **PLAIN, "class": "portal-input portal-code"}
# Empty rows of the form: without a script none can be added but by a button.
MORE_ROWS = 3
LONGEST_LINES = 10_000
AS_DEPLOYED = "None: as deployed"


class ChainForm(forms.Form):
    """What a chain is called, and what applies to all its steps."""

    name = forms.CharField(max_length=LONGEST_NAME, widget=forms.TextInput({**INPUT, **PLAIN}))
    description = forms.CharField(
        required=False, max_length=LONGEST_DESCRIPTION, widget=forms.Textarea({**INPUT, "rows": 2})
    )
    valid_until = forms.DateTimeField(
        label="Valid until",
        required=False,
        widget=forms.DateTimeInput({**INPUT, "type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In your time zone. After it, the chain cannot be run until it is saved with a later end. Blank: "
        "as late as the policies there allow, at most 366 days from now.",
    )
    defaults = forms.CharField(
        label="Defaults of inputs",
        required=False,
        max_length=LONGEST_LINES,
        widget=forms.Textarea({**CODE, "rows": 2}),
        help_text="One a line, such as month = 2026-10. Inputs are what the parameters of steps name in braces.",
    )
    document = forms.CharField(
        label="Definition as JSON",
        required=False,
        max_length=LONGEST,
        widget=forms.Textarea({**CODE, "rows": 8}),
        help_text="Replaces all steps above and the defaults. Blank = what is entered above.",
    )

    def clean_defaults(self) -> dict[str, Any]:
        try:
            found = step_text.read_parameters(self.cleaned_data["defaults"])
        except ValueError as error:
            raise forms.ValidationError(str(error), "chain.definition") from error
        if wrong := [name for name, source in found.items() if set(source) != {"value"}]:
            raise forms.ValidationError(f"{wrong[0]} needs a constant.", "chain.definition")
        return {name: source["value"] for name, source in found.items()}

    def clean_document(self) -> Any:
        text = self.cleaned_data["document"].strip()
        try:
            return json.loads(text) if text else None
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"Not valid JSON: {error}.", "file.not_json") from error


class StepForm(forms.Form):
    """One step; a row without a name and a deployment is ignored."""

    key = forms.CharField(
        label="Name", required=False, max_length=LONGEST_KEY, widget=forms.TextInput({**CODE, "placeholder": "ingest"})
    )
    deployment = forms.ChoiceField(required=False)
    after = forms.CharField(
        required=False, max_length=LONGEST_LINES, widget=forms.Textarea({**CODE, "rows": 2}), label="After"
    )
    parameters = forms.CharField(
        required=False, max_length=LONGEST_LINES, widget=forms.Textarea({**CODE, "rows": 3}), label="Parameters"
    )
    gate = forms.BooleanField(required=False, label="Gate")
    retries = forms.IntegerField(
        required=False, min_value=0, max_value=MOST_RETRIES, widget=forms.NumberInput(INPUT), label="Retries"
    )
    timeout_minutes = forms.IntegerField(
        required=False, min_value=1, max_value=MOST_MINUTES, widget=forms.NumberInput(INPUT), label="Minutes"
    )
    profile = forms.ChoiceField(required=False, widget=forms.Select(INPUT), label="Resource profile")
    choose_profile = forms.BooleanField(required=False, label="Requester can choose")

    def __init__(
        self, data: Any, *, prefix: str, initial: dict[str, Any], deployments: list[str], profiles: list[str]
    ) -> None:
        super().__init__(data, prefix=prefix, initial=initial, use_required_attribute=False)
        kept = self.initial.get("profile", "")
        found = profiles if not kept or kept in profiles else [kept, *profiles]
        self.fields["profile"].choices = [("", "No resource profile"), *((name, name) for name in found)]  # type: ignore[attr-defined]  # of a ChoiceField
        if not found and not self.initial.get("choose_profile"):
            del self.fields["profile"], self.fields["choose_profile"]
        chosen = self.initial.get("deployment", "")
        names = deployments if not chosen or chosen in deployments else [chosen, *deployments]
        self.fields["deployment"].widget = forms.Select(INPUT)
        choices = [("", "Select a deployment"), *((name, deployment_name(name)) for name in names)]
        self.fields["deployment"].choices = choices  # type: ignore[attr-defined]  # of a ChoiceField

    def clean_after(self) -> list[dict[str, Any]]:
        return read_lines(self.cleaned_data["after"], step_text.read_after)

    def clean_parameters(self) -> dict[str, dict[str, Any]]:
        return read_lines(self.cleaned_data["parameters"], step_text.read_parameters)

    @property
    def is_blank(self) -> bool:
        return not self.cleaned_data.get("key") and not self.cleaned_data.get("deployment")

    @property
    def step(self) -> dict[str, Any]:
        """The step as a definition has it; only for a valid form."""
        values = self.cleaned_data
        return {
            "key": values["key"],
            "deployment": values["deployment"],
            "parameters": values["parameters"],
            "after": values["after"],
            "gate": values["gate"],
            "retries": values["retries"] or 0,
            "timeout_minutes": values["timeout_minutes"],
            "profile": values.get("profile", ""),
            "choose_profile": values.get("choose_profile", False),
        }


def read_lines[Found](text: str, read: Callable[[str], Found]) -> Found:
    try:
        return read(text)
    except ValueError as error:
        raise forms.ValidationError(str(error), "chain.definition") from error


class Steps:
    """The rows of the form."""

    def __init__(
        self, deployments: list[str], profiles: list[str], stored: list[Mapping[str, Any]], data: Any = None
    ) -> None:
        total = len(stored) + MORE_ROWS
        if data is not None:
            total = number(data.get("steps"), otherwise=total) or total
        self.total = min(total + (MORE_ROWS if data is not None and "more" in data else 0), MOST_STEPS)
        initial = [row_of(step) for step in stored]
        self.forms = [
            StepForm(
                data,
                prefix=f"step-{index}",
                initial=initial[index] if index < len(initial) else {},
                deployments=deployments,
                profiles=profiles,
            )
            for index in range(self.total)
        ]

    def is_valid(self) -> bool:
        # All of them, so that all errors show at once.
        valid = [form.is_valid() for form in self.forms]
        return all(valid)

    @property
    def definitions(self) -> list[dict[str, Any]]:
        return [form.step for form in self.forms if not form.is_blank]

    def refuse(self, refusal: Refused) -> bool:
        """Show a refusal at the row of the step that it names; return whether there is one."""
        step = refusal.data.get("step")
        filled = [form for form in self.forms if not form.is_blank]
        named = [form for form in filled if form.cleaned_data["key"] == step]
        if isinstance(step, int) and not isinstance(step, bool) and 1 <= step <= len(filled):
            named = [filled[step - 1]]
        if named:
            named[0].add_error("key", forms.ValidationError(refusal.message, refusal.code))
        return bool(named)


def row_of(step: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: step[name] for name in ("key", "deployment", "gate", "timeout_minutes")},
        "after": step_text.write_after(step["after"]),
        "parameters": step_text.write_parameters(step["parameters"]),
        "retries": step["retries"] or None,
        "profile": step.get("profile", ""),
        "choose_profile": step.get("choose_profile", False),
    }


def deployments_in(environment: Environment, permissions: Permissions) -> list[str]:
    """Return the names of the deployments that the person could make steps of: they see them and may run them."""
    seen = permissions.deployments().filter(permissions.q(Verb.TRIGGER))
    found = seen.filter(environment=environment, deleted_upstream_at=None)
    return sorted(set(found.values_list("full_name", flat=True)))


def profiles_in(environment: Environment, by: Actor) -> list[str]:
    """Return the names of the resource profiles that the person can choose; saving checks whether one fits its step."""
    return [profile.name for profile in profile_rules.choosable([environment.pk], by)]


class ChainRunForm(RunOptionsForm):
    """The options of a run that a run of a chain has too; its inputs are a form of their own."""

    confirmation = forms.CharField(required=False, widget=forms.TextInput(attrs={**INPUT, **PLAIN}))

    def __init__(self, rules: Requirements, name: str, data: Any = None, initial: Any = None) -> None:
        super().__init__(rules, [NOW], data, initial, offers_override=False)
        self.name = name
        for left_out in ("start", "scheduled_for", "run_name", "tags", "retries"):
            self.fields.pop(left_out, None)
        if rules.needs_confirmation:
            self.fields["confirmation"].label = f"Type {name} to confirm"
        else:
            del self.fields["confirmation"]

    def clean_confirmation(self) -> str:
        typed: str = self.cleaned_data["confirmation"].strip()
        if typed != self.name:
            raise forms.ValidationError(f"Type {self.name} to confirm.", "confirmation.mismatch")
        return typed

    @property
    def choices(self) -> dict[str, Any]:
        """What was chosen, as a draft holds it; only for a valid form."""
        behalf = self.cleaned_data["on_behalf_of"]
        found = {name: self.cleaned_data[name] for name in ("reason", "ticket")}
        return {**found, "on_behalf_of": behalf.pk if behalf else None}


class ProfilesForm(forms.Form):
    """The resource profiles of the steps that let the requester choose: those that this user can choose there."""

    def __init__(
        self, steps: Sequence[tuple[Step, Sequence[ResourceProfile]]], data: Any = None, initial: Any = None
    ) -> None:
        super().__init__(data, prefix="profile", use_required_attribute=False)
        for step, offered in steps:
            kept = initial.get(step.key, step.profile) if initial is not None else step.profile
            choices = profile_choice.choices_of(offered, step.profile)
            self.fields[step.key] = forms.ChoiceField(
                label=f"Resource profile of {step.key}",
                required=False,
                initial=kept,
                choices=[("", AS_DEPLOYED), *choices],
                widget=forms.Select(INPUT),
            )

    @property
    def chosen(self) -> dict[str, str]:
        """Step -> name of its profile; only for a valid form."""
        return dict(self.cleaned_data)
