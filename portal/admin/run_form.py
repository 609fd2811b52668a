"""Asking for a run: the form, and what becomes of what was typed."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from flows.access import Refused
from flows.models import Deployment, Environment, WorkPool
from flows.parameters import Invalid, ParameterForm
from flows.parameters.links import from_texts
from portal import freshness, times
from portal.admin import narrowing
from portal.admin.base import actor, holding
from portal.admin.buttons import LONGEST_REASON
from portal.admin.deployment_list import Workforce
from runs import lifecycle
from runs.models import RunRequest

NOW, LATER = "now", "later"
MOST_TAGS, LONGEST_TAG = 20, 100
# Query parameters of a shared link: p.month=2026-01 fills the parameter "month".
LINK_PREFIX = "p."
# The two clocks are those of the browser and of the portal.
SLACK = timedelta(minutes=2)
CHANGED = "Its parameters changed while this form was open. Check what you typed below, and send it again."
INPUT = {"class": "portal-input"}


class AskForm(forms.Form):
    """Everything about a wished run that is not a parameter."""

    start = forms.ChoiceField(
        choices=[(NOW, "Now"), (LATER, "Later")], widget=forms.RadioSelect, initial=NOW, required=False
    )
    scheduled_for = forms.DateTimeField(
        label="Date and time",
        required=False,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S"],
        widget=forms.DateTimeInput(format="%Y-%m-%dT%H:%M", attrs={**INPUT, "type": "datetime-local"}),
        error_messages={"invalid": "Write the date and time as 2026-01-31 14:30."},
    )
    run_name = forms.CharField(
        required=False,
        max_length=200,
        widget=forms.TextInput(attrs=INPUT),
        help_text="Left empty, Prefect makes one up.",
    )
    tags = forms.CharField(
        required=False,
        max_length=2000,
        widget=forms.TextInput(attrs=INPUT),
        help_text="Separated by commas; added to those of the deployment.",
    )
    reason = forms.CharField(
        required=False, max_length=LONGEST_REASON, widget=forms.Textarea(attrs={**INPUT, "rows": 2})
    )

    def __init__(self, environment: Environment, data: Any = None, initial: Any = None) -> None:
        super().__init__(data, initial=initial, use_required_attribute=False)
        self.fields["scheduled_for"].help_text = f"In the portal's time zone, {timezone.get_current_timezone_name()}."
        reason = self.fields["reason"]
        reason.required = environment.needs_reason
        reason.error_messages["required"] = f"{environment} wants a reason with every run: one sentence on why."
        reason.help_text = "Kept with the request and in the audit trail."

    def clean_tags(self) -> list[str]:
        tags = [tag.strip() for tag in self.cleaned_data["tags"].split(",") if tag.strip()]
        if len(tags) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in tags):
            raise forms.ValidationError(f"At most {MOST_TAGS} tags of {LONGEST_TAG} characters each.")
        return tags

    def clean(self) -> dict[str, Any]:
        values = super().clean() or self.cleaned_data
        if values.get("start") != LATER:
            values["scheduled_for"] = None
        elif "scheduled_for" in values and "scheduled_for" not in self.errors:
            moment = values["scheduled_for"]
            if moment is None:
                self.add_error("scheduled_for", "Say when it is to start, or choose “Now”.")
            elif moment < timezone.now() - SLACK:
                self.add_error("scheduled_for", "That moment has passed. Choose a later one, or “Now”.")
        return values


def view(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Show the form; on POST submit it, or show it again with what is wrong. The reader may trigger the deployment."""
    try:
        lifecycle.must_be_askable(deployment, scheduled_for=None)
    except Refused as refusal:
        messages.warning(request, str(refusal))
        return HttpResponseRedirect(reverse("admin:flows_deployment_change", args=[deployment.pk]))
    offer = narrowing.offer(holding(request), deployment)
    frame = {**frame, "allowed": offer.sentences}
    # What was shown decides what an untouched field means.
    initial = {**offer.initial, **prefilled(request, deployment)}
    if request.method != "POST":
        ask = AskForm(deployment.environment, initial=given_about(request))
        parameters = ParameterForm(offer.schema, deployment.parameter_defaults, initial=initial)
        return page(request, deployment, frame, ask, parameters, key=uuid.uuid4())

    key = key_of(request, "submission_key") or uuid.uuid4()
    ask = AskForm(deployment.environment, request.POST)
    parameters = ParameterForm(offer.schema, deployment.parameter_defaults, data=request.POST, initial=initial)
    # A value that only the grants leave out is for the verb to refuse: that it was tried must be in the trail.
    whole = ParameterForm(
        deployment.parameter_schema, deployment.parameter_defaults, data=request.POST, initial=initial
    )
    sent = parameters if parameters.is_valid() else whole
    # Both, so that every error shows at once.
    is_complete = all([ask.is_valid(), sent.is_valid()])
    seen = request.POST.get("seen_fingerprint", "")
    if seen != deployment.schema_fingerprint:
        return page(request, deployment, frame, ask, parameters, key=key, refusal=CHANGED)
    if not is_complete:
        return page(request, deployment, frame, ask, parameters, key=key)
    try:
        run_request = submit(request, deployment, ask, sent, key)
    except (Refused, Invalid) as refused:
        # Values that no grant allows too: whoever may not ask at all was turned away before.
        # A key that made a request already would be refused for ever.
        fresh = uuid.uuid4() if RunRequest.objects.filter(submission_key=key).exists() else key
        return page(request, deployment, frame, ask, parameters, key=fresh, refusal=str(refused))
    return HttpResponseRedirect(reverse("admin:runs_runrequest_change", args=[run_request.pk]))


def submit(
    request: HttpRequest, deployment: Deployment, ask: AskForm, parameters: ParameterForm, key: uuid.UUID
) -> RunRequest:
    wish = ask.cleaned_data
    return lifecycle.submit(
        deployment,
        parameters.values,
        by=actor(request),
        scheduled_for=wish["scheduled_for"],
        tags=wish["tags"],
        run_name=wish["run_name"],
        reason=wish["reason"],
        submission_key=key,
        seen_fingerprint=deployment.schema_fingerprint,
    )


def page(
    request: HttpRequest,
    deployment: Deployment,
    frame: dict[str, Any],
    ask: AskForm,
    parameters: ParameterForm,
    *,
    key: uuid.UUID,
    refusal: str = "",
) -> HttpResponse:
    pool = WorkPool.objects.filter(environment=deployment.environment_id, name=deployment.work_pool_name).first()
    context = {
        **frame,
        "title": f"Run {deployment.full_name}",
        "deployment": deployment,
        "freshness": freshness.of([deployment.environment], "deployments"),
        "workforce": Workforce.of(deployment.work_pool_name, vars(pool) if pool else None),
        "approval_time": times.span(deployment.environment.approval_minutes * 60),
        "ask": ask,
        "parameters": parameters,
        "submission_key": key,
        "refusal": refusal,
    }
    return render(request, "portal/deployment/run.html", context)


def prefilled(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """The parameters a shared link fills in."""
    texts = {name.removeprefix(LINK_PREFIX): request.GET[name] for name in request.GET if name.startswith(LINK_PREFIX)}
    return from_texts(deployment.parameter_schema, texts)


def given_about(request: HttpRequest) -> dict[str, str]:
    """The rest of what a shared link fills in; the reason is everybody's own."""
    return {name: request.GET[name] for name in ("run_name", "tags") if name in request.GET}


def key_of(request: HttpRequest, *names: str) -> uuid.UUID | None:
    """The key that makes a double click one request."""
    for name in names:
        try:
            return uuid.UUID(request.POST.get(name, ""))
        except ValueError:
            continue
    return None
