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
from portal.admin.loosening_fields import LooseningFields
from portal.admin.moment_field import MomentField
from portal.ui import grant_labels
from runs.access import predicates
from runs.models import Grant, Verb
from runs.models.grant import WITH_PARAMETERS

INPUT = {"class": "portal-input"}
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
EFFECTS = [(str(Grant.Effect.ALLOW), "Allow"), (str(Grant.Effect.DENY), "Deny")]


@dataclass(frozen=True, slots=True)
class VerbLine:
    """The check box of one verb, its description, and whether it can be limited to parameter values."""

    box: BoundWidget
    opens: str
    takes_values: bool


def text(label: str, longest: int, help_text: str, suggestions: str = "") -> forms.CharField:
    """Return a single-line field; `suggestions` is the id of a datalist."""
    attrs = {**INPUT, **({"list": suggestions} if suggestions else {})}
    return forms.CharField(
        label=label, required=False, max_length=longest, help_text=help_text, widget=forms.TextInput(attrs)
    )


class GrantForm(LooseningFields):
    """The arguments of `grants.grant`, by the same names, and the confirmation of what it opens."""

    reason_field = "reason"
    loosening_reason = None  # type: ignore[assignment]  # Django drops the field of the base

    person = forms.ModelChoiceField(
        User.objects.filter(is_active=True).order_by("username"),
        label="User",
        required=False,
        widget=forms.Select(INPUT),
        help_text="Select either a user or a group.",
    )
    group = forms.ModelChoiceField(Group.objects.order_by("name"), required=False, widget=forms.Select(INPUT))
    effect = forms.ChoiceField(
        choices=EFFECTS,
        widget=forms.RadioSelect,
        initial=Grant.Effect.ALLOW,
        help_text="Deny wins over allow.",
    )
    verbs = forms.MultipleChoiceField(label="Permissions", choices=Verb.choices, widget=forms.CheckboxSelectMultiple)
    environment = forms.ModelChoiceField(
        Environment.objects.all(),
        required=False,
        empty_label="all unprotected environments",
        widget=forms.Select(INPUT),
        help_text="Select a protected environment explicitly. A deny for all environments includes the protected ones.",
    )
    flow_name = text("Flow", 300, "Blank = all flows.", "flow-names")
    full_name = text("Deployment", 601, "flow name/deployment name. Blank = all deployments.", "full-names")
    tag = text("Tag", 300, "Only deployments with this tag. Blank = any tags.", "tags")
    predicate = forms.CharField(
        label="Parameter values",
        required=False,
        max_length=predicates.LONGEST,
        widget=forms.Textarea({**INPUT, **PLAIN, "class": "portal-input portal-code", "rows": 4}),
        help_text="A JSON Schema that the parameters of a run must satisfy. Blank = any values. Do not name secret "
        "parameters: everyone who can view the grant can read the condition.",
    )
    valid_from = MomentField(label="From", help_text="Blank = from now.", attrs=INPUT)
    valid_until = MomentField(label="Until", help_text="Blank = until revoked.", attrs=INPUT)
    reason = forms.CharField(required=False, max_length=500, widget=forms.Textarea({**INPUT, "rows": 2}))
    ticket = text("Ticket", 100, "Required in some environments. Stored with the grant.")

    def __init__(
        self,
        data: Any = None,
        initial: Any = None,
        *,
        environments: QuerySet[Environment] | None = None,
        is_administrator: bool = True,
    ) -> None:
        """`environments` are those the reader may select; None for all, as administrators may."""
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.fields["verbs"].error_messages["required"] = "Select at least one permission."
        if environments is not None:
            self.fields["environment"].queryset = environments  # type: ignore[attr-defined]  # a model's choices
        # Offering less is for convenience only; `grants.grant` refuses what this reader cannot grant.
        if not is_administrator:
            # The page leaves the group out; a form that was sent with one is refused by the service, and recorded.
            self.fields["person"].help_text = "Only administrators can create grants for groups."
            self.fields["effect"].choices = EFFECTS[:1]  # type: ignore[attr-defined]  # a choice of one
            self.fields["effect"].help_text = "Only administrators can create deny grants."

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `grants.grant`."""
        values = {name: value for name, value in self.cleaned_data.items() if name != "loosening_confirm"}
        return values | self.confirmation

    def preview(self) -> Grant:
        """Return the grant as the form would create it, as far as it matters for what it opens."""
        names = ("person", "group", "effect", "verbs", "environment")
        return Grant(**{name: self.cleaned_data[name] for name in names})

    def verb_groups(self) -> list[tuple[str, list[VerbLine]]]:
        return verb_groups(self["verbs"])

    def clean_predicate(self) -> dict[str, Any] | None:
        return read_condition(self.cleaned_data["predicate"])

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if bool(values.get("person")) == bool(values.get("group")):
            self.add_error("person", forms.ValidationError("Select either a user or a group.", "subject"))
        until = values.get("valid_until")
        if until and until <= timezone.now():
            message = "This time has passed. Choose a later time."
            self.add_error("valid_until", forms.ValidationError(message, "grant.past"))
        return values


def verb_groups(field: forms.BoundField) -> list[tuple[str, list[VerbLine]]]:
    """Return the check boxes of a field of verbs by group, in the order of `grant_labels.VERBS`."""
    # The bound field yields a box for each verb, checked as typed; the template only arranges them.
    boxes = {str(box.data["value"]): box for box in field}
    return [
        (
            title,
            [VerbLine(boxes[verb], opens, verb in WITH_PARAMETERS) for verb, opens in verbs.items() if verb in boxes],
        )
        for title, verbs in grant_labels.VERBS.items()
    ]


def read_condition(typed: str) -> dict[str, Any] | None:
    """Return the JSON Schema that was typed, None for a blank; raises `ValidationError`."""
    if not typed.strip():
        return None
    try:
        predicate = json.loads(typed)
    except (ValueError, RecursionError) as error:
        raise forms.ValidationError(f"Invalid JSON: {error}.", "json") from error
    # Checked here as well as in the service, to show all problems at the field instead of the first at the top.
    if problems := predicates.problems(predicate):
        raise forms.ValidationError([forms.ValidationError(problem, "condition") for problem in problems])
    found: dict[str, Any] = predicate
    return found


def copy_of(grant: Grant) -> dict[str, Any]:
    """Return initial values that repeat an earlier grant, without dates in the past."""
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
