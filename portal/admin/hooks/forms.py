"""The forms of a hook: a new one, and what can be changed later."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.db.models import Q

from flows.models import Deployment
from portal.admin import double_submit
from portal.admin.access.forms import read_condition
from runs.access import predicates
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.automation import LARGEST_BODY, hooks
from runs.automation.value_mapping import LONGEST_MAPPING
from runs.errors import Refused
from runs.models import Hook, ServiceAccount, Verb
from runs.models.hook import DEFAULT_BYTES

INPUT = {"class": "portal-input"}
PLAIN = {"autocomplete": "off", "spellcheck": "false"}
CODE = {**INPUT, **PLAIN, "class": "portal-input portal-code"}
KILOBYTE = 1024
# Code of a refusal -> the field it is about.
FIELDS = {
    "hook.name_required": "name",
    "hook.kind": "kind",
    "hook.mapping": "mapping",
    "hook.condition": "predicate",
    "hook.size": "kilobytes",
    "automation.valid_until": "valid_until",
    "access.no_grant": "deployment",
    "access.denied": "deployment",
    "access.inactive": "account",
}


class HookForm(forms.Form):
    """The arguments of `hooks.change`."""

    name = forms.CharField(
        max_length=hooks.MAX_NAME_LENGTH,
        widget=forms.TextInput({**INPUT, **PLAIN}),
        help_text="For you to recognize it by, such as “orders from the shop”. The reason of each request names it.",
    )
    mapping = forms.CharField(
        required=False,
        max_length=LONGEST_MAPPING,
        widget=forms.Textarea({**CODE, "rows": 8}),
        help_text="JSON: parameter → {“pointer”: …} into the body, with a “default” if you like, or a constant "
        "{“value”: …}. Other parameters have the defaults of the deployment.",
    )
    predicate = forms.CharField(
        label="Condition",
        required=False,
        max_length=predicates.LONGEST,
        widget=forms.Textarea({**CODE, "rows": 4}),
        help_text="A JSON Schema that the body must satisfy. Other messages are ignored. Blank = any message.",
    )
    kilobytes = forms.IntegerField(
        label="Largest body in kB",
        min_value=hooks.SMALLEST_BODY // KILOBYTE,
        max_value=LARGEST_BODY // KILOBYTE,
        initial=DEFAULT_BYTES // KILOBYTE,
        widget=forms.NumberInput(INPUT),
    )

    valid_until = forms.DateTimeField(
        label="Valid until",
        required=False,
        widget=forms.DateTimeInput({**INPUT, "type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
        help_text="In your time zone. Blank: as late as the policies there allow, at most 366 days from now.",
    )

    def __init__(self, data: Any = None, *, hook: Hook | None = None) -> None:
        super().__init__(data, initial=values_of(hook) if hook else None, use_required_attribute=False)

    def clean_mapping(self) -> dict[str, Any]:
        return read_mapping(self.cleaned_data["mapping"])

    def clean_predicate(self) -> dict[str, Any] | None:
        return read_condition(self.cleaned_data["predicate"])

    def arguments(self) -> dict[str, Any]:
        """Return what `hooks.create` and `hooks.change` take alike."""
        values = self.cleaned_data
        columns = {name: values[name] for name in ("name", "mapping", "predicate", "valid_until")}
        return {**columns, "max_bytes": values["kilobytes"] * KILOBYTE}

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        field = FIELDS.get(refusal.code)
        error = forms.ValidationError(refusal.message, refusal.code)
        self.add_error(field if field in self.fields else None, error)


class NewHookForm(HookForm):
    """The arguments of `hooks.create`."""

    account = forms.ModelChoiceField(
        ServiceAccount.objects.none(),
        label="Service account",
        empty_label=None,
        widget=forms.Select(INPUT),
        help_text="One that you own. Its grants decide at each message; you answer for what it requests.",
    )
    deployment = forms.ModelChoiceField(
        Deployment.objects.none(),
        empty_label="Select a deployment",
        widget=forms.Select(INPUT),
        help_text="The only one that this hook can run. It cannot be changed later.",
    )
    kind = forms.ChoiceField(
        label="Signed as",
        choices=Hook.Kind.choices,
        initial=Hook.Kind.STANDARD,
        widget=forms.RadioSelect,
        help_text="Standard Webhooks signs the time as well, so prefer it where there is a choice.",
    )

    def __init__(self, by: Actor, data: Any = None, initial: Any = None) -> None:
        super().__init__(data)
        self.initial.update(initial or {})
        accounts = hooks.accounts_of(by)
        self.fields["account"].queryset = accounts  # type: ignore[attr-defined]  # a model's choices
        choices = self.fields["deployment"]
        choices.queryset = deployments_of(list(accounts), by)  # type: ignore[attr-defined]  # a model's choices
        choices.label_from_instance = label_of  # type: ignore[attr-defined]  # a model's choices

    def newest_hook(self) -> int:
        """Return the key of the newest hook: what the page knew when it was opened."""
        return double_submit.newest(Hook.objects.all())

    def is_repeated(self) -> bool:
        """Return whether the form was sent before: the account has a newer hook of that name than the page knew."""
        values = self.cleaned_data
        rows = Hook.objects.filter(account=values["account"], name=values["name"].strip())
        return double_submit.created_since(rows, self.data.get("newest_hook")).exists()


def read_mapping(text: str) -> dict[str, Any]:
    """Return a mapping from its text; raises `ValidationError`."""
    try:
        found = json.loads(text.strip() or "{}")
    except (ValueError, RecursionError) as error:
        raise forms.ValidationError(f"Not valid JSON: {error}.", "file.not_json") from error
    if not isinstance(found, dict):
        raise forms.ValidationError("Write a JSON object: { … }.", "file.not_object")
    return found


def deployments_of(accounts: list[ServiceAccount], by: Actor) -> Any:
    """Return the deployments that any of these service accounts may run, of those that their owner sees."""
    allowed = Q(pk=None)
    for account in accounts:
        allowed |= Permissions.of_person(account.user).q(Verb.TRIGGER)
    return deployments_for(allowed & Permissions.of(by).q(Verb.SEE))


def deployments_for(allowed: Q) -> Any:
    """Return the deployments that there are of those allowed, in the order in which forms offer them."""
    rows = Deployment.objects.filter(allowed, deleted_upstream_at=None).select_related("environment")
    return rows.order_by("environment__position", "environment__slug", "full_name")


def label_of(deployment: Deployment) -> str:
    return f"{deployment} in {deployment.environment}"


def values_of(hook: Hook) -> dict[str, Any]:
    return {
        "name": hook.name,
        "mapping": json.dumps(hook.mapping, indent=2, ensure_ascii=False),
        "predicate": json.dumps(hook.predicate, indent=2, ensure_ascii=False) if hook.predicate else "",
        "kilobytes": hook.max_bytes // KILOBYTE,
        "valid_until": hook.valid_until,
    }
