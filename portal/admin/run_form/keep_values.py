"""Keeps what is in a run form without running it: as a preset, or as a link that fills the form again.

Both show the form again with what was typed; run_form.js takes only the answer from that page, so that nothing typed is
lost, secrets included.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from flows.models import Deployment
from flows.parameters import Invalid, ParameterForm
from flows.parameters.references import to_texts
from flows.wording import listed
from portal.admin.problem import Problem
from portal.admin.run_form import rerun
from portal.admin.run_form.context import LINK_PREFIX, RunFormContext, build_context
from portal.admin.run_form.draft import EXPIRED
from portal.admin.run_form.page import initial_values, key_of, page, show_empty
from portal.auth.request_user import actor_of, permissions_of
from runs.access.decisions import Forbidden
from runs.errors import Refused
from runs.models import Preset
from runs.requests import presets

# Chats and mail cut longer addresses.
LONGEST_LINK = 2000
# How many wrong values an answer names.
MOST_NAMED = 5
# What is missing is no error here: presets and links need not be complete.
INCOMPLETE = {"parameter.required", "parameter.empty"}


@dataclass(frozen=True, slots=True)
class Link:
    """An address that fills the form; `left_out` names what it does not hold. Empty if it would be too long."""

    url: str
    length: int
    left_out: str

    @property
    def longest(self) -> int:
        return LONGEST_LINK


@dataclass(frozen=True, slots=True)
class Typed:
    """A form as it was submitted: the values that can be read, and whether all of them are right."""

    form: RunFormContext
    initial: dict[str, Any]
    parameters: ParameterForm

    @property
    def is_wrong(self) -> bool:
        return any(set(codes) - INCOMPLETE for codes in self.parameters.codes.values())

    @property
    def problem(self) -> Problem:
        names = [part.label for part in self.parameters.wrong_parts if {each.code for each in part.errors} - INCOMPLETE]
        return Problem("preset.values", f"Fix these values first: {listed(names, MOST_NAMED)}.")

    def show(self, **answer: Any) -> HttpResponse:
        """Show the form again, with its errors only if they are what is answered."""
        request = self.form.request
        parameters = self.parameters
        if not self.is_wrong:
            parameters = self.form.parameter_form(self.initial, request.POST, is_partial=True) or parameters
        options = self.form.options_form(initial=request.POST.dict())
        return page(
            self.form,
            (options, parameters),
            key=key_of(request, "submission_key") or uuid.uuid4(),
            edited_draft=request.POST.get("edited_draft", ""),
            **answer,
        )


def save_preset(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Save what is in the form as a preset, and show the form again with the result."""
    try:
        if not permissions_of(request).start(deployment):
            # Refused by the service, which records the attempt. What was typed is not read.
            presets.save(deployment, {}, by=actor_of(request), name=request.POST.get("preset_name", ""))
        typed = read(request, deployment, frame)
        return typed if isinstance(typed, HttpResponse) else save_typed(typed)
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden


def save_typed(typed: Typed) -> HttpResponse:
    request = typed.form.request
    if typed.is_wrong:
        return typed.show(preset_problem=typed.problem)
    try:
        saved = presets.save(
            typed.form.deployment,
            typed.parameters.values,
            by=actor_of(request),
            name=request.POST.get("preset_name", ""),
            is_shared="preset_shared" in request.POST,
            profile=request.POST.get("profile", ""),
        )
    except Invalid as invalid:
        typed.parameters.add_errors(invalid.errors)
        return typed.show(preset_problem=typed.problem)
    except Forbidden:
        raise
    except Refused as refusal:
        return typed.show(preset_problem=refusal)
    return typed.show(saved=saved, saved_url=preset_link(request, saved))


def copy_link(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Show the form again with the address that fills it: the values that differ from the defaults, never secrets."""
    decision = permissions_of(request).start(deployment)
    if not decision:
        raise PermissionDenied(decision.sentence)
    typed = read(request, deployment, frame)
    if isinstance(typed, HttpResponse):
        return typed
    if typed.is_wrong:
        return typed.show(link_problem=typed.problem)
    return typed.show(link=link_of(typed))


def read(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> Typed | HttpResponse:
    """Return the submitted form, or the form as it is shown where the one submitted has expired."""
    form = build_context(request, deployment, frame, rerun.previous_request(request, deployment))
    initial = initial_values(form)
    if initial is None:
        return show_empty(form, EXPIRED)
    parameters = form.parameter_form(initial, request.POST)
    if parameters is None:
        raise PermissionDenied("You cannot view these values, so you cannot keep them.")
    return Typed(form, initial, parameters)


def link_of(typed: Typed) -> Link:
    form, data = typed.form, typed.form.request.POST
    deployment = form.deployment
    texts, left_out = to_texts(deployment.parameter_schema, typed.parameters.values, deployment.parameter_defaults)
    query = {f"{LINK_PREFIX}{name}": text for name, text in texts.items()}
    query |= {name: data[name] for name in ("run_name", "tags", "profile") if data.get(name)}
    path = reverse("admin:flows_deployment_run", args=[deployment.pk])
    url = form.request.build_absolute_uri(f"{path}?{urlencode(query)}" if query else path)
    return Link(url if len(url) <= LONGEST_LINK else "", len(url), ", ".join(left_out))


def preset_link(request: HttpRequest, preset: Preset) -> str:
    return request.build_absolute_uri(reverse("admin:runs_preset_change", args=[preset.pk]))
