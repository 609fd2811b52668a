"""The form of a new resource profile."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib.auth.models import Group

from flows.models import Environment, WorkPool
from portal.admin.loosening_fields import LooseningFields
from portal.ui.text import json_text
from runs.errors import Refused
from runs.governance import resource_profiles
from runs.models import ResourceProfile

INPUT = {"class": "portal-input"}
PLAIN = {**INPUT, "autocomplete": "off", "spellcheck": "false"}
LONGEST = 20_000
# Code of a refusal -> the field it is about; others are about the form.
FIELDS = {
    "name.taken": "name",
    "resource_profile.empty": "job_variables",
    "resource_profile.group": "groups",
    "resource_profile.name": "name",
    "resource_profile.placeholder": "job_variables",
    "resource_profile.pool": "place",
    "resource_profile.queue": "work_queue",
    "resource_profile.secret": "job_variables",
    "resource_profile.variables": "job_variables",
}


class VariablesField(forms.CharField):
    """One job variable a line: a name, “=” and a value, which is JSON or else a text."""

    def clean(self, value: Any) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for line in filter(None, map(str.strip, super().clean(value).splitlines())):
            name, equals, text = (part.strip() for part in line.partition("="))
            if not equals or not name:
                raise forms.ValidationError(f"“{line[:80]}” is not a name, “=” and a value.", "line")
            if name in found:
                raise forms.ValidationError(f"{name[:80]} is set twice.", "twice")
            found[name] = read_value(text)
        return found


def read_value(text: str) -> Any:
    """Return the value of JSON, or the text itself; “4” in quotation marks is a text."""
    try:
        return json.loads(text)
    # RecursionError: deeply nested; ValueError also for a number of thousands of digits.
    except (ValueError, RecursionError):
        return text


def spell_value(value: Any) -> str:
    """Return what `read_value` reads as this value."""
    spelled = json_text(value)
    return spelled if read_value(spelled) == value and isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class ProfileForm(LooseningFields):
    """The arguments of `resource_profiles.create`."""

    place = forms.ChoiceField(label="Runs in", widget=forms.Select(INPUT), help_text="Where it can be chosen.")
    name = forms.CharField(
        max_length=resource_profiles.LONGEST_NAME, widget=forms.TextInput(PLAIN), help_text="Such as large or gpu."
    )
    description = forms.CharField(
        required=False,
        max_length=resource_profiles.LONGEST_DESCRIPTION,
        widget=forms.TextInput(INPUT),
        help_text="What it is for, shown where it is chosen.",
    )
    job_variables = VariablesField(
        required=False,
        max_length=LONGEST,
        widget=forms.Textarea({**PLAIN, "rows": 6}),
        help_text="One a line, such as cpu = 4 or memory = 8Gi. They replace those of the deployment, and must fit the "
        "base job template of the work pool. Put a number that is meant as a text in quotation marks. Secrets and "
        "environment variables are refused.",
    )
    work_queue = forms.CharField(
        required=False,
        max_length=300,
        widget=forms.TextInput(PLAIN),
        help_text="A queue of the work pool, for another priority. Blank: the queue of the deployment.",
    )
    groups = forms.MultipleChoiceField(
        label="Chosen by members of",
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text="None: everyone who can request the run.",
    )
    allows_agents = forms.BooleanField(
        label="AI agents can choose it",
        required=False,
        help_text="On behalf of an owner who can choose it.",
    )

    def __init__(self, data: Any = None, *, like: ResourceProfile | None = None) -> None:
        super().__init__(data, initial=values_of(like) if like else None, use_required_attribute=False)
        self.places = places()
        by_environment: dict[str, list[tuple[str, str]]] = {}
        for key, (environment, name, pool_type) in self.places.items():
            label = f"work pool {name}" if name else f"all work pools of type {pool_type}"
            by_environment.setdefault(environment.slug, []).append((key, label))
        choices = list(by_environment.items())
        self.fields["place"].choices = choices  # type: ignore[attr-defined]  # of a ChoiceField
        names = [(name, name) for name in Group.objects.order_by("name").values_list("name", flat=True)]
        self.fields["groups"].choices = names  # type: ignore[attr-defined]  # of a ChoiceField

    def clean(self) -> dict[str, Any]:
        values: dict[str, Any] = super().clean() or self.cleaned_data
        if not self.errors:
            environment, pool_name, pool_type = self.places[values["place"]]
            profile = ResourceProfile(
                environment=environment, name=values["name"], pool_name=pool_name, pool_type=pool_type
            )
            self.require_confirmed(resource_profiles.loosenings(profile))
        return values

    @property
    def environment(self) -> Environment:
        return self.places[self.cleaned_data["place"]][0]

    @property
    def arguments(self) -> dict[str, Any]:
        """What the service takes, for a valid form."""
        _, pool_name, pool_type = self.places[self.cleaned_data["place"]]
        names = ("name", "description", "job_variables", "work_queue", "groups", "allows_agents")
        values = {name: self.cleaned_data[name] for name in names}
        return {**values, "pool_name": pool_name, "pool_type": pool_type, **self.confirmation}

    def refuse(self, refusal: Refused) -> None:
        """Show a refusal of the service at the field that it is about."""
        self.add_error(FIELDS.get(refusal.code), forms.ValidationError(refusal.message, refusal.code))


def places() -> dict[str, tuple[Environment, str, str]]:
    """Return key of a choice -> environment, and the name of a work pool or a type of them."""
    pools = WorkPool.current.filter(environment__is_active=True).select_related("environment__server")
    rows = list(pools.defer("variables", "workers").order_by("environment__position", "environment", "name"))
    by_name = {place_of(pool.environment_id, pool.name, ""): (pool.environment, pool.name, "") for pool in rows}
    by_type = {place_of(pool.environment_id, "", pool.type): (pool.environment, "", pool.type) for pool in rows}
    return by_name | by_type


def place_of(environment: int, pool_name: str, pool_type: str) -> str:
    return f"{environment}/pool/{pool_name}" if pool_name else f"{environment}/type/{pool_type}"


def values_of(profile: ResourceProfile) -> dict[str, Any]:
    """Return what fills the form in with another profile."""
    return {
        "place": place_of(profile.environment_id, profile.pool_name, profile.pool_type),
        "name": profile.name,
        "description": profile.description,
        "job_variables": "\n".join(f"{name} = {spell_value(value)}" for name, value in profile.job_variables.items()),
        "work_queue": profile.work_queue,
        "groups": profile.groups,
        "allows_agents": profile.allows_agents,
    }
