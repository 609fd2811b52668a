"""The forms of an event rule: a new one, and what can be changed later."""

from __future__ import annotations

import json
import re
from typing import Any

from django import forms

from flows.models import Deployment, Environment
from portal.admin import double_submit
from portal.admin.hooks.forms import CODE, INPUT, PLAIN, deployments_for, label_of, read_mapping
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import event_rules
from runs.automation.rule_conditions import LONGEST_VALUE, MOST_CONDITIONS, OPERATORS
from runs.automation.value_mapping import LONGEST_MAPPING
from runs.errors import Refused
from runs.models import EventRule, Hook, Verb
from runs.models.rule import MOST_DEBOUNCE_SECONDS
from runs.models.run import STATES, TERMINAL

# How a condition is typed -> how it is stored.
TYPED = {"=": "eq", "!=": "ne", "≠": "ne", ">": "gt", ">=": "ge", "≥": "ge", "<": "lt", "<=": "le", "≤": "le"}
SHOWN = {stored: typed for typed, stored in TYPED.items() if typed.isascii()}
LINE = re.compile(r"(\S+)\s+(=|!=|≠|>=|≥|<=|≤|>|<)\s+(.+)")
# Code of a refusal -> the field it is about.
FIELDS = {
    "event_rule.name_required": "name",
    "event_rule.trigger": "trigger",
    "event_rule.states": "states",
    "event_rule.artifact_key": "artifact_key",
    "event_rule.event_name": "event_name",
    "event_rule.hook": "hook",
    "event_rule.environment": "environment",
    "event_rule.condition": "conditions",
    "event_rule.mapping": "mapping",
    "event_rule.debounce": "debounce_seconds",
    "event_rule.per_hour": "per_hour",
    "automation.valid_until": "valid_until",
    "access.no_grant": "deployment",
    "access.denied": "deployment",
}
# Field -> the triggers that it is for; all others are for every rule.
ONLY_FOR = {
    "states": ("run",),
    "artifact_key": ("artifact",),
    "hook": ("delivery",),
    "event_name": ("event",),
    "environment": ("run", "artifact", "event"),
    "full_name": ("run", "artifact"),
    "flow_name": ("run", "artifact"),
    "tag": ("run", "artifact"),
}


class RuleForm(forms.Form):
    """The arguments of `event_rules.change`."""

    name = forms.CharField(
        max_length=event_rules.MAX_NAME_LENGTH,
        widget=forms.TextInput({**INPUT, **PLAIN}),
        help_text="For you to recognize it by, such as “load after close”. The reason of each request names it.",
    )
    states = forms.MultipleChoiceField(
        label="A run ends as",
        required=False,
        choices=[(state, STATES[state][0]) for state in sorted(TERMINAL)],
        widget=forms.CheckboxSelectMultiple,
    )
    artifact_key = forms.CharField(
        label="Key of the artifact",
        required=False,
        max_length=300,
        widget=forms.TextInput({**INPUT, **PLAIN}),
        help_text="Each time that a run publishes or changes it. Compare its value below.",
    )
    hook = forms.ModelChoiceField(
        Hook.objects.none(),
        required=False,
        empty_label="Select a hook",
        widget=forms.Select(INPUT),
        help_text="One of a service account that you own. While the rule is enabled, bodies up to 16 kB are stored.",
    )
    event_name = forms.CharField(
        label="Name of the event",
        required=False,
        max_length=100,
        widget=forms.TextInput({**INPUT, **PLAIN}),
        help_text="As programs post it to the API, such as month.closed.",
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        label="In environment",
        required=False,
        empty_label="All that I can view",
        widget=forms.Select(INPUT),
    )
    full_name = forms.CharField(
        label="Only of the deployment",
        required=False,
        max_length=601,
        widget=forms.TextInput({**INPUT, **PLAIN, "placeholder": "flow/deployment"}),
    )
    flow_name = forms.CharField(
        label="Only of the flow", required=False, max_length=300, widget=forms.TextInput({**INPUT, **PLAIN})
    )
    tag = forms.CharField(
        label="Only with the tag", required=False, max_length=300, widget=forms.TextInput({**INPUT, **PLAIN})
    )
    conditions = forms.CharField(
        required=False,
        max_length=MOST_CONDITIONS * (LONGEST_VALUE + 600),
        widget=forms.Textarea({**CODE, "rows": 4}),
        help_text="One a line, all must hold: a JSON pointer, one of = != > >= < <=, and a number, true, false, null "
        "or a text. Blank = every event.",
    )
    mapping = forms.CharField(
        required=False,
        max_length=LONGEST_MAPPING,
        widget=forms.Textarea({**CODE, "rows": 6}),
        help_text="JSON: parameter → {“pointer”: …} into the event, with a “default” if you like, or a constant "
        "{“value”: …}. Other parameters have the defaults of the deployment.",
    )
    debounce_seconds = forms.IntegerField(
        label="Wait for quiet, in seconds",
        min_value=0,
        max_value=MOST_DEBOUNCE_SECONDS,
        initial=0,
        widget=forms.NumberInput(INPUT),
        help_text="Of events that follow each other within this time only the last one counts. 0 = each counts.",
    )
    per_hour = forms.IntegerField(
        label="At most, requests an hour",
        min_value=1,
        max_value=event_rules.MOST_PER_HOUR,
        initial=event_rules.DEFAULT_PER_HOUR,
        widget=forms.NumberInput(INPUT),
        help_text="What is above it is skipped.",
    )
    valid_until = forms.DateTimeField(
        label="Valid until",
        required=False,
        widget=forms.DateTimeInput({**INPUT, "type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In your time zone. Blank: as late as the policies there allow, at most 366 days from now.",
    )

    def __init__(self, by: Actor, data: Any = None, *, rule: EventRule | None = None) -> None:
        super().__init__(data, initial=values_of(rule) if rule else None, use_required_attribute=False)
        self.by, self.rule = by, rule
        self.fields["hook"].queryset = event_rules.hooks_of(by)  # type: ignore[attr-defined]  # a model's choices
        places = event_rules.environments_of(by).order_by("position", "slug")
        self.fields["environment"].queryset = places  # type: ignore[attr-defined]  # a model's choices
        if rule:
            for name, triggers in ONLY_FOR.items():
                if rule.trigger not in triggers:
                    del self.fields[name]

    def clean_conditions(self) -> list[dict[str, Any]]:
        return [read_condition(line.strip()) for line in self.cleaned_data["conditions"].splitlines() if line.strip()]

    def clean_mapping(self) -> dict[str, Any]:
        return read_mapping(self.cleaned_data["mapping"])

    def arguments(self) -> dict[str, Any]:
        """Return what `event_rules.create` and `event_rules.change` take alike."""
        return {name: value for name, value in self.cleaned_data.items() if name in {"name", *event_rules.DEFAULTS}}

    def draft(self) -> EventRule:
        """Return the rule that the form describes, checked and unsaved; raises `Refused`."""
        rule = self.rule
        trigger = rule.trigger if rule else self.cleaned_data["trigger"]
        deployment = rule.deployment if rule else self.cleaned_data["deployment"]
        arguments = self.arguments()
        made = event_rules.draft(arguments.pop("name"), trigger=trigger, deployment=deployment, by=self.by, **arguments)
        # With its key, so that what it has caused is found.
        made.pk = rule.pk if rule else None
        return made

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        field = FIELDS.get(refusal.code)
        error = forms.ValidationError(refusal.message, refusal.code)
        self.add_error(field if field in self.fields else None, error)


class NewRuleForm(RuleForm):
    """The arguments of `event_rules.create`."""

    trigger = forms.ChoiceField(
        label="When",
        choices=EventRule.Trigger.choices,
        initial=EventRule.Trigger.RUN,
        widget=forms.RadioSelect,
    )
    deployment = forms.ModelChoiceField(
        Deployment.objects.none(),
        label="Request a run of",
        empty_label="Select a deployment",
        widget=forms.Select(INPUT),
        help_text="In your name, with your grants. It cannot be changed later, and neither can what starts the rule.",
    )

    def __init__(self, by: Actor, data: Any = None) -> None:
        super().__init__(by, data)
        choices = self.fields["deployment"]
        permissions = Permissions.of(by)
        allowed = permissions.q(Verb.TRIGGER) & permissions.q(Verb.SEE)
        choices.queryset = deployments_for(allowed)  # type: ignore[attr-defined]  # a model's choices
        choices.label_from_instance = label_of  # type: ignore[attr-defined]  # a model's choices

    def is_repeated(self) -> bool:
        """Return whether the form was sent before: the person has a newer rule of that name than the page knew."""
        rows = EventRule.objects.filter(owner=self.by.user.pk, name=self.cleaned_data["name"].strip())
        return double_submit.created_since(rows, self.data.get("newest_rule")).exists()


def read_condition(line: str) -> dict[str, Any]:
    """Return a condition as it is stored; a value that is no JSON is a text."""
    found = LINE.fullmatch(line)
    if found is None:
        raise forms.ValidationError(
            f"“{line[:100]}” is not a condition. Write a pointer, a comparison and a value: /run/seconds > 600.",
            "event_rule.condition",
        )
    pointer, comparison, text = found.groups()
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    return {"pointer": pointer, "is": TYPED[comparison], "value": value}


def written_condition(stored: dict[str, Any]) -> str:
    """Return a condition as it is typed: a text without quotation marks, unless it would be read as something else."""
    value = stored["value"]
    written = json.dumps(value, ensure_ascii=False)
    if isinstance(value, str) and value.strip() == value and value and "\n" not in value:
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            written = value
    return f"{stored['pointer']} {SHOWN[stored['is']]} {written}"


def values_of(rule: EventRule) -> dict[str, Any]:
    return {
        "name": rule.name,
        **{name: getattr(rule, name) for name in event_rules.DEFAULTS},
        "environment": rule.environment_id,
        "hook": rule.hook_id,
        "conditions": "\n".join(written_condition(each) for each in rule.conditions if each["is"] in OPERATORS),
        "mapping": json.dumps(rule.mapping, indent=2, ensure_ascii=False),
    }
