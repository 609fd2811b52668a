"""The page "Explain access": whether a user has a permission, and every grant behind the answer."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from flows.models import Deployment, Environment
from portal.admin.access.forms import json_mistake
from portal.auth.request_user import actor_of, can_view_grants, permissions_of
from portal.ui import grant_labels
from runs.access.decisions import Permissions
from runs.access.explain import Explanation
from runs.governance import preview
from runs.models import Verb

# Names in the suggestion list; browsers become slow with thousands.
MOST_NAMES = 500
INPUT = {"class": "portal-input"}
# Nothing is stored, so the limit only bounds the work of one request.
LONGEST = 100_000


class WhyForm(forms.Form):
    """The user, permission and deployment to explain, limited to what the reader may see."""

    person = forms.ModelChoiceField(
        User.objects.order_by("username"), label="User", empty_label=None, widget=forms.Select(INPUT)
    )
    verb = forms.ChoiceField(label="Permission", choices=Verb.choices, initial=Verb.TRIGGER, widget=forms.Select(INPUT))
    environment = forms.ModelChoiceField(Environment.objects.none(), empty_label=None, widget=forms.Select(INPUT))
    deployment = forms.CharField(
        max_length=601,
        widget=forms.TextInput({**INPUT, "list": "full-names"}),
        help_text="flow name/deployment name",
    )
    parameters = forms.CharField(
        label="Parameters",
        required=False,
        max_length=LONGEST,
        widget=forms.Textarea({"class": "portal-input portal-code", "rows": 3, "spellcheck": "false"}),
        help_text='A JSON object such as {"region": "EU"}; defaults are added. Blank: any values. '
        "Not stored; do not enter secrets.",
    )

    def __init__(self, permissions: Permissions, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.permissions = permissions
        self.fields["environment"].queryset = permissions.environments()  # type: ignore[attr-defined]  # a model's choices
        self.fields["deployment"].error_messages["required"] = "Enter a deployment."
        # Everyone else asks about themselves: without the field, a posted user is ignored.
        if not permissions.is_administrator:
            del self.fields["person"]

    def clean_parameters(self) -> dict[str, Any] | None:
        typed = self.cleaned_data["parameters"].strip()
        if not typed:
            return None
        try:
            values = json.loads(typed)
        # Deeply nested brackets exhaust the parser's recursion limit before they are invalid.
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(json_mistake(typed, error), "json") from error
        if not isinstance(values, dict):
            raise forms.ValidationError('Enter a JSON object, such as {"region": "EU"}.', "object")
        return values

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if "environment" in values and "deployment" in values:
            name = values["deployment"].strip()
            found = self.permissions.deployments().filter(environment=values["environment"], full_name=name)
            values["row"] = found.order_by(F("deleted_upstream_at").asc(nulls_first=True)).first()
            if values["row"] is None:
                message = f"No deployment of this name in {values['environment']}."
                self.add_error("deployment", forms.ValidationError(message, "unknown"))
        return values


def view(request: HttpRequest, frame: dict[str, Any]) -> HttpResponse:
    """Render the form; on POST with the answer below it."""
    # 1. The form: typed on POST, prefilled from the URL when a page links here.
    permissions = permissions_of(request)
    form = (
        WhyForm(permissions, request.POST)
        if request.method == "POST"
        else WhyForm(permissions, initial=read_query(request, permissions))
    )
    # 2. The answer. Only POST asks: each explanation is recorded in the audit trail, and a GET may be repeated.
    answer: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        person = values.get("person") or actor_of(request).user
        verb = Verb(values["verb"])
        found = preview.why(person, verb, values["row"], values["parameters"], by=actor_of(request))
        answer = describe_answer(found, permissions)
    # 3. Names to suggest, from what the reader may see.
    names = (
        permissions.deployments()
        .filter(deleted_upstream_at=None)
        .order_by("full_name")
        .values_list("full_name", flat=True)
    )
    context = {
        **frame,
        "title": "Explain access",
        "form": form,
        "full_names": list(names.distinct()[:MOST_NAMES]),
        "answer": answer,
        "has_links": can_view_grants(request),
    }
    return render(request, "portal/grant/why.html", context)


def read_query(request: HttpRequest, permissions: Permissions) -> dict[str, Any]:
    """Return initial values from the URL: `?deployment=`, `?person=` (keys) and `?verb=`; invalid ones are ignored."""
    found: dict[str, Any] = {"person": request.GET.get("person") or request.user.pk}
    if request.GET.get("verb") in Verb.values:
        found["verb"] = request.GET["verb"]
    key = request.GET.get("deployment", "")
    row: Deployment | None = None
    if key.isascii() and key.isdigit() and len(key) < 19:
        row = permissions.deployments().filter(pk=int(key)).first()
    return found | ({"environment": row.environment_id, "deployment": row.full_name} if row else {})


def describe_answer(found: Explanation, permissions: Permissions) -> dict[str, Any]:
    """Return the context of the answer."""
    # Grants for environments that the reader may not see are left out: they would reveal that those exist.
    seen = {None, *permissions.environments().values_list("pk", flat=True)}
    return {
        "decision": found.decision,
        "tone": "green" if found.decision else "red",
        "icon": "check_circle" if found.decision else "block",
        "deciding": [(grant, grant_labels.describe(grant)) for grant in found.decision.grants],
        "ignored": [
            (each.grant, grant_labels.describe(each.grant), each.why)
            for each in found.ignored
            if each.grant.environment_id in seen
        ],
    }
