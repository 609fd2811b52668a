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
from portal.admin.access.rules_field import RulesField
from portal.admin.access.who_field import WhoField, value_of
from portal.admin.loosening_fields import LooseningFields
from portal.admin.moment_field import MomentField
from portal.ui import grant_labels
from runs.access import condition_rules, predicates
from runs.access.condition_rules import Types
from runs.models import Grant, Verb
from runs.models.grant import WITH_PARAMETERS

INPUT = {"class": "portal-input"}
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
# Characters of a JSON text that an error quotes.
MOST_QUOTED = 30
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

    who = WhoField(label="Who", required=False, help_text="A user, or every member of a group.")
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
    rules = RulesField(
        label="Parameter values",
        required=False,
        help_text="The parameters of a run must satisfy every rule. No rule = any values. Texts need no quotes; "
        "separate several values by commas. Do not name secret parameters: every reader of the grant sees them.",
    )
    predicate = forms.CharField(
        label="JSON Schema",
        required=False,
        max_length=predicates.LONGEST,
        widget=forms.Textarea({**INPUT, **PLAIN, "class": "portal-input portal-code", "rows": 4}),
        help_text="For what rules cannot say. The parameters must satisfy it and the rules.",
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
        self.fields["who"].offer(groups=is_administrator)  # type: ignore[attr-defined]  # a WhoField
        # Offering less is for convenience only; `grants.grant` refuses what this reader cannot grant.
        if not is_administrator:
            self.fields["who"].help_text = "Only administrators can create grants for groups."
            self.fields["effect"].choices = EFFECTS[:1]  # type: ignore[attr-defined]  # a choice of one
            self.fields["effect"].help_text = "Only administrators can create deny grants."

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `grants.grant`."""
        left_out = ("who", "rules", "loosening_confirm")
        values = {name: value for name, value in self.cleaned_data.items() if name not in left_out}
        return {**values, **self.subject, **self.confirmation}

    @property
    def subject(self) -> dict[str, Any]:
        """The person or the group."""
        who = self.cleaned_data.get("who")
        return {"person": who if isinstance(who, User) else None, "group": who if isinstance(who, Group) else None}

    def preview(self) -> Grant:
        """Return the grant as the form would create it, as far as it matters for what it opens and matches."""
        names = ("effect", "verbs", "environment", "flow_name", "full_name", "tag")
        return Grant(**self.subject, **{name: self.cleaned_data[name] for name in names if name in self.cleaned_data})

    def read_rules(self, types: Types) -> None:
        """Join the rules with the JSON Schema; `types` are those of the parameters of the matching deployments."""
        found, problems = condition_rules.to_condition(self.cleaned_data.get("rules", []), types)
        if problems:
            self.add_error("rules", self.fields["rules"].show(problems))  # type: ignore[attr-defined]  # a RulesField
        elif "predicate" in self.cleaned_data:
            self.cleaned_data["predicate"] = predicates.both(found, self.cleaned_data["predicate"])

    def verb_groups(self) -> list[tuple[str, list[VerbLine]]]:
        return verb_groups(self["verbs"])

    def clean_predicate(self) -> dict[str, Any] | None:
        return read_condition(self.cleaned_data["predicate"])

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
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
        raise forms.ValidationError(json_mistake(typed, error), "json") from error
    # Checked here as well as in the service, to show all problems at the field instead of the first at the top.
    if problems := predicates.problems(predicate):
        raise forms.ValidationError([forms.ValidationError(problem, "condition") for problem in problems])
    found: dict[str, Any] = predicate
    return found


def json_mistake(typed: str, error: Exception) -> str:
    """Return what is wrong with a JSON text, and where."""
    if not isinstance(error, json.JSONDecodeError):
        return "Invalid JSON: it is nested too deeply."
    line = typed.splitlines()[error.lineno - 1] if typed.splitlines()[error.lineno - 1 :] else ""
    rest = line[error.colno - 1 :].strip()[:MOST_QUOTED]
    place = f"at “{rest}”" if rest else "at the end"
    return f"Invalid JSON at line {error.lineno}, column {error.colno}: {error.msg.lower()}, {place}."


def copy_of(grant: Grant) -> dict[str, Any]:
    """Return initial values that repeat an earlier grant, without dates in the past."""
    now = timezone.now()
    rules = condition_rules.from_condition(grant.predicate)
    text = json.dumps(grant.predicate, indent=2, ensure_ascii=False) if rules is None else ""
    return {
        "who": value_of(grant.person_id, grant.group_id),
        "effect": grant.effect,
        "verbs": grant.verbs,
        "environment": grant.environment_id,
        "flow_name": grant.flow_name,
        "full_name": grant.full_name,
        "tag": grant.tag,
        "rules": rules or [],
        "predicate": text,
        "valid_from": grant.valid_from if grant.valid_from and grant.valid_from > now else None,
        "valid_until": grant.valid_until if grant.valid_until and grant.valid_until > now else None,
    }
