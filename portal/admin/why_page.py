"""Why somebody may or may not do something: the question, and the answer with every grant behind it."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from flows.access import Holding
from flows.explaining import Explanation
from flows.models import Deployment, Environment, Verb
from portal import grant_words
from portal.admin.base import actor, holding
from portal.reader import sees_grants
from runs import trying

MOST_NAMES = 500
INPUT = {"class": "portal-input"}
# A JSON text longer than this is no parameters of a run.
LONGEST = 100_000


class WhyForm(forms.Form):
    """Whom, what and where; the deployments are those the reader may see."""

    person = forms.ModelChoiceField(User.objects.order_by("username"), empty_label=None, widget=forms.Select(INPUT))
    verb = forms.ChoiceField(label="What", choices=Verb.choices, initial=Verb.TRIGGER, widget=forms.Select(INPUT))
    environment = forms.ModelChoiceField(
        Environment.objects.none(), label="Where", empty_label=None, widget=forms.Select(INPUT)
    )
    deployment = forms.CharField(
        max_length=601,
        widget=forms.TextInput({**INPUT, "list": "full-names"}),
        help_text="flow name/deployment name",
    )
    parameters = forms.CharField(
        label="With these parameters",
        required=False,
        max_length=LONGEST,
        widget=forms.Textarea({"class": "portal-input portal-code", "rows": 3, "spellcheck": "false"}),
        help_text='A JSON object such as {"region": "EU"}; defaults come to it. Left empty: with any values at all. '
        "It is not kept; leave secrets out.",
    )

    def __init__(self, mine: Holding, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.mine = mine
        self.fields["environment"].queryset = mine.environments()  # type: ignore[attr-defined]  # a model's choices
        self.fields["deployment"].error_messages["required"] = "Name a deployment."
        if not mine.user.is_superuser:
            del self.fields["person"]

    def clean_parameters(self) -> dict[str, Any] | None:
        typed = self.cleaned_data["parameters"].strip()
        if not typed:
            return None
        try:
            values = json.loads(typed)
        except (ValueError, RecursionError) as error:
            raise forms.ValidationError(f"It is not JSON: {error}.") from error
        if not isinstance(values, dict):
            raise forms.ValidationError('Write a JSON object, such as {"region": "EU"}.')
        return values

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if "environment" in values and "deployment" in values:
            name = values["deployment"].strip()
            there = self.mine.deployments().filter(environment=values["environment"], full_name=name)
            values["row"] = there.order_by("gone_at").first()
            if values["row"] is None:
                self.add_error("deployment", f"You see no deployment of that name in {values['environment']}.")
        return values


def view(request: HttpRequest, frame: dict[str, Any]) -> HttpResponse:
    """The question; on POST with its answer below."""
    mine = holding(request)
    form = WhyForm(mine, request.POST) if request.method == "POST" else WhyForm(mine, initial=asked(request, mine))
    answer: dict[str, Any] = {}
    if request.method == "POST" and form.is_valid():
        values = form.cleaned_data
        person = values.get("person") or actor(request).user
        verb = Verb(values["verb"])
        found = trying.why(person, verb, values["row"], values["parameters"], by=actor(request))
        answer = said(found, mine)
    names = mine.deployments().filter(gone_at=None).order_by("full_name").values_list("full_name", flat=True)
    context = {
        **frame,
        "title": "Why may somebody, and why not",
        "form": form,
        "full_names": list(names.distinct()[:MOST_NAMES]),
        "answer": answer,
        "has_links": sees_grants(request),
    }
    return render(request, "portal/grant/why.html", context)


def asked(request: HttpRequest, mine: Holding) -> dict[str, Any]:
    """What an address asks for: a deployment by its key, a person by theirs, a verb."""
    found: dict[str, Any] = {"person": request.GET.get("person") or request.user.pk}
    if request.GET.get("verb") in Verb.values:
        found["verb"] = request.GET["verb"]
    key = request.GET.get("deployment", "")
    row: Deployment | None = None
    if key.isascii() and key.isdigit() and len(key) < 19:
        row = mine.deployments().filter(pk=int(key)).first()
    return found | ({"environment": row.environment_id, "deployment": row.full_name} if row else {})


def said(found: Explanation, mine: Holding) -> dict[str, Any]:
    """The answer as the template wants it; a grant of an environment the reader does not see is left out."""
    seen = {None, *mine.environments().values_list("pk", flat=True)}
    return {
        "decision": found.decision,
        "tone": "green" if found.decision else "red",
        "icon": "check_circle" if found.decision else "block",
        "deciding": [(grant, grant_words.sentence(grant)) for grant in found.decision.grants],
        "bystanders": [
            (each.grant, grant_words.sentence(each.grant), each.why)
            for each in found.bystanders
            if each.grant.environment_id in seen
        ],
    }
