"""The form that creates a grant, for administrators and for people who grant what they have."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django import forms
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.forms.boundfield import BoundWidget
from django.utils import timezone

from flows.models import Environment
from portal.ui import grant_labels
from runs.access import predicates
from runs.models import Grant, Verb
from runs.models.grant import WITH_PARAMETERS

INPUT = {"class": "portal-input"}
MOMENT = "%Y-%m-%dT%H:%M"
MOMENTS = [MOMENT, "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"]
ONLY = {"autocomplete": "off", "spellcheck": "false"}
EFFECTS = [(str(Grant.Effect.ALLOW), "Allow"), (str(Grant.Effect.DENY), "Prohibit")]


@dataclass(frozen=True, slots=True)
class VerbLine:
    """One verb to tick, what it opens, and whether it may be bound to values."""

    box: BoundWidget
    opens: str
    takes_values: bool


def moment(label: str, help_text: str) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        required=False,
        input_formats=MOMENTS,
        help_text=help_text,
        widget=forms.DateTimeInput(format=MOMENT, attrs={**INPUT, "type": "datetime-local"}),
        error_messages={"invalid": "Enter the date and time as 2026-01-31 14:30."},
    )


def text(label: str, longest: int, help_text: str, suggestions: str = "") -> forms.CharField:
    """One line; `suggestions` is the id of a list of names."""
    attrs = {**INPUT, **({"list": suggestions} if suggestions else {})}
    return forms.CharField(
        label=label, required=False, max_length=longest, help_text=help_text, widget=forms.TextInput(attrs)
    )


class GrantForm(forms.Form):
    """The arguments of `grants.grant`."""

    person = forms.ModelChoiceField(
        User.objects.filter(is_active=True).order_by("username"),
        required=False,
        widget=forms.Select(INPUT),
        help_text="Either a person or a group.",
    )
    group = forms.ModelChoiceField(Group.objects.order_by("name"), required=False, widget=forms.Select(INPUT))
    effect = forms.ChoiceField(
        choices=EFFECTS,
        widget=forms.RadioSelect,
        initial=Grant.Effect.ALLOW,
        help_text="A prohibition wins over every permission.",
    )
    verbs = forms.MultipleChoiceField(choices=Verb.choices, widget=forms.CheckboxSelectMultiple)
    environment = forms.ModelChoiceField(
        Environment.objects.all(),
        required=False,
        empty_label="every environment that is not protected",
        widget=forms.Select(INPUT),
        help_text="A protected environment counts only when it is named. A prohibition of every environment covers "
        "the protected ones too.",
    )
    flow_name = text("Flow", 300, "Left empty: every flow.", "flow-names")
    full_name = text("Deployment", 601, "flow name/deployment name. Left empty: every deployment.", "full-names")
    tag = text("Tag", 300, "Only deployments with this tag. Left empty: whatever their tags.", "tags")
    predicate = forms.CharField(
        label="Only for these parameter values",
        required=False,
        max_length=predicates.LONGEST,
        widget=forms.Textarea({**INPUT, **ONLY, "class": "portal-input portal-code", "rows": 4}),
        help_text="A JSON Schema over the parameters of a run. Left empty: whatever their values. Do not name secret "
        "parameters: a condition can be read.",
    )
    valid_from = moment("From", "Left empty: from now on.")
    valid_until = moment("Until", "Left empty: until it is revoked.")
    reason = forms.CharField(required=False, max_length=500, widget=forms.Textarea({**INPUT, "rows": 2}))
    ticket = text("Ticket", 100, "Some environments want one. It is kept with the grant.")

    def __init__(
        self,
        data: Any = None,
        initial: Any = None,
        *,
        environments: QuerySet[Environment] | None = None,
        may_prohibit: bool = True,
    ) -> None:
        """`environments` are those the giver may name; all for administrators."""
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.fields["verbs"].error_messages["required"] = "Tick at least one."
        if environments is not None:
            self.fields["environment"].queryset = environments  # type: ignore[attr-defined]  # a model's choices
        if not may_prohibit:
            self.fields["effect"].choices = EFFECTS[:1]  # type: ignore[attr-defined]  # a choice of one
            self.fields["effect"].help_text = "Prohibitions are given by administrators."

    def verb_groups(self) -> list[tuple[str, list[VerbLine]]]:
        """The verbs by what they are about, each with what it opens."""
        boxes = {str(box.data["value"]): box for box in self["verbs"]}
        return [
            (title, [VerbLine(boxes[verb], opens, verb in WITH_PARAMETERS) for verb, opens in verbs.items()])
            for title, verbs in grant_labels.VERBS.items()
        ]

    def clean_predicate(self) -> dict[str, Any] | None:
        typed = self.cleaned_data["predicate"].strip()
        if not typed:
            return None
        try:
            predicate = json.loads(typed)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"It is not JSON: {error}.") from error
        if problems := predicates.problems(predicate):
            raise forms.ValidationError(problems)
        found: dict[str, Any] = predicate
        return found

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if bool(values.get("person")) == bool(values.get("group")):
            self.add_error("person", "Name a person or a group, one of the two.")
        until = values.get("valid_until")
        if until and until <= timezone.now():
            self.add_error("valid_until", "That moment has passed: the grant would never count.")
        return values


def again(grant: Grant) -> dict[str, Any]:
    """What an earlier grant said, to be given once more; dates that have passed are left out."""
    now = timezone.now()
    return {
        "person": grant.person_id,
        "group": grant.group_id,
        "effect": grant.effect,
        "verbs": grant.verbs,
        "environment": grant.environment_id,
        "flow_name": grant.flow_name,
        "full_name": grant.full_name,
        "tag": grant.tag,
        "predicate": json.dumps(grant.predicate, indent=2, ensure_ascii=False) if grant.predicate else "",
        "valid_from": grant.valid_from if grant.valid_from and grant.valid_from > now else None,
        "valid_until": grant.valid_until if grant.valid_until and grant.valid_until > now else None,
    }
