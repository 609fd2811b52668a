"""The pages that request a run of a chain: its inputs and options, and the plan of one that has a backfill."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters import Invalid, ParameterForm
from portal.admin.backfill.page import error_of
from portal.admin.chains import chain_draft, plan_rows
from portal.admin.chains.chain_draft import ChainDraft
from portal.admin.chains.forms import ChainRunForm, ProfilesForm
from portal.admin.chains.page import address, graph_of
from portal.admin.problem import Problem
from portal.admin.run_form.draft import EXPIRED
from portal.admin.run_form.page import key_of
from portal.auth.request_user import actor_of
from portal.ui import rule_labels
from portal.ui.text import json_text, number
from runs.access.decisions import Forbidden, Target
from runs.automation import chain_definition, chains
from runs.automation.chain_checks import deployments_of, require_startable
from runs.automation.chain_definition import Definition
from runs.automation.chain_inputs import input_schema
from runs.automation.chain_plan import plan_run
from runs.errors import Refused
from runs.governance.requirements import Requirements, requirements_for
from runs.models import Chain
from runs.requests import profile_rules


@dataclass(frozen=True, slots=True)
class RunPage:
    """One GET or POST of the form."""

    request: HttpRequest
    chain: Chain
    frame: dict[str, Any]
    definition: Definition
    by_key: Mapping[str, Deployment]
    rules: Requirements

    @property
    def has_backfill(self) -> bool:
        return any(step.over for step in self.definition.steps)

    @property
    def schema(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return input_schema(self.definition, self.by_key)

    def inputs_form(self, data: Any = None, initial: Mapping[str, Any] | None = None) -> ParameterForm:
        schema, defaults = self.schema
        return ParameterForm(schema, defaults, data, initial)

    def options_form(self, data: Any = None, initial: Mapping[str, Any] | None = None) -> ChainRunForm:
        return ChainRunForm(self.rules, self.chain.name, data, initial)

    def profiles_form(self, data: Any = None, initial: Mapping[str, str] | None = None) -> ProfilesForm:
        free = [step for step in self.definition.steps if step.chooses_profile]
        deployments = [self.by_key[step.key] for step in free]
        offered = profile_rules.offered_for(deployments, actor_of(self.request)) if free else {}
        return ProfilesForm([(step, offered[self.by_key[step.key].pk]) for step in free], data, initial)


def view(request: HttpRequest, chain: Chain, frame: dict[str, Any]) -> HttpResponse:
    """Show the form; on POST submit the request, or show its plan if a step is a backfill."""
    definition = chain_definition.read(chain.versions.get(number=chain.number).definition)
    try:
        if request.method != "POST":
            require_startable(chain)
        by_key = deployments_of(definition, chain.environment)
    except Refused as refusal:
        messages.warning(request, refusal.message, extra_tags=refusal.code)
        return HttpResponseRedirect(address(chain))
    rules = requirements_for(*[Target.of(each) for each in {each.pk: each for each in by_key.values()}.values()])
    page = RunPage(request, chain, frame, definition, by_key, rules)
    if request.method != "POST":
        return show_form(page, page.inputs_form(), page.options_form(), page.profiles_form())
    return handle_plan(page) if "draft" in request.POST else handle_form(page)


def handle_form(page: RunPage) -> HttpResponse:
    """Validate what was filled in, and submit it or show its plan."""
    request, data = page.request, page.request.POST
    before = None
    if edited := data.get("edited_draft", ""):
        before = chain_draft.read_chain_draft(edited, page.chain, actor_of(request).user)
        if before is None:
            return show_form(page, page.inputs_form(), page.options_form(), page.profiles_form(), refusal=EXPIRED)
    # An untouched field means the value that it was shown with; a secret is not shown at all.
    inputs = page.inputs_form(data, before.inputs if before else None)
    options, profiles = page.options_form(data), page.profiles_form(data)
    # All of them, so that all errors show at once.
    if not all([options.is_valid(), inputs.is_valid(), profiles.is_valid()]) or inputs.is_partial:
        return show_form(page, inputs, options, profiles, edited_draft=edited)
    draft = ChainDraft(
        page.chain,
        number(data.get("version"), otherwise=0) or 0,
        inputs.values,
        profiles.chosen,
        options.choices,
        key_of(request, "submission_key") or uuid.uuid4(),
    )
    try:
        if page.has_backfill:
            return show_plan(page, draft)
        return submit(page, draft)
    except (Refused, Invalid) as error:
        return show_form(page, inputs, options, profiles, refusal=error_of(error), edited_draft=edited)


def handle_plan(page: RunPage) -> HttpResponse:
    """Submit the plan that was displayed, or go back to the form."""
    request = page.request
    draft = chain_draft.read_chain_draft(request.POST["draft"], page.chain, actor_of(request).user)
    if draft is None:
        return show_form(page, page.inputs_form(), page.options_form(), page.profiles_form(), refusal=EXPIRED)
    refusal: Problem | None = None
    if "change" not in request.POST:
        try:
            return submit(page, draft, request.POST.get("plan", ""))
        except (Refused, Invalid) as error:
            refusal = error_of(error)
        # If it cannot be planned any more, the form shows why it was not submitted.
        with suppress(Refused, Invalid):
            return show_plan(page, draft, refusal)
    person = draft.on_behalf_of
    initial = {**draft.options, "on_behalf_of": person.get_username() if person else ""}
    return show_form(
        page,
        page.inputs_form(initial=draft.inputs),
        page.options_form(initial=initial),
        page.profiles_form(initial=draft.profiles),
        refusal=refusal,
        edited_draft=draft.encrypt(actor_of(request).user),
    )


def submit(page: RunPage, draft: ChainDraft, displayed_plan: str = "") -> HttpResponse:
    try:
        change = draft.submit(by=actor_of(page.request), displayed_plan=displayed_plan)
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    return HttpResponseRedirect(reverse("admin:runs_changerequest_change", args=[change.pk]))


def show_plan(page: RunPage, draft: ChainDraft, refusal: Problem | None = None) -> HttpResponse:
    """Show what would run; raises `Refused` or `Invalid` for what cannot be planned."""
    by = actor_of(page.request)
    chains.require_version(page.chain, draft.version)
    try:
        plan = plan_run(page.chain, draft.inputs, by=by, profiles=draft.profiles)
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    public = plan.outline.public_inputs
    context = {
        **shared_context(page),
        "title": f"Review run of {page.chain.name}",
        "plan": plan,
        "steps": [plan_rows.StepRows.of(each) for each in plan.steps],
        "inputs": [
            (name, json_text(value) if name in public else schemas.MASK) for name, value in draft.inputs.items()
        ],
        "options": draft.options,
        "on_behalf_of": draft.on_behalf_of,
        "draft": draft.encrypt(by.user),
        "refusal": refusal,
        "refusal_code": refusal.code if refusal else "",
    }
    return render(page.request, "portal/chain/plan.html", context)


def show_form(
    page: RunPage,
    inputs: ParameterForm,
    options: ChainRunForm,
    profiles: ProfilesForm,
    *,
    refusal: Problem | None = None,
    edited_draft: str = "",
) -> HttpResponse:
    kept = key_of(page.request, "submission_key") if refusal is None else None
    context = {
        **shared_context(page),
        "title": f"Run {page.chain.name}",
        "inputs": inputs,
        "has_inputs": bool(page.definition.inputs),
        "options": options,
        "profiles": profiles,
        "graph": graph_of(page.chain, page.definition),
        "step_count": len(page.definition.steps),
        "submission_key": kept or uuid.uuid4(),
        "edited_draft": edited_draft,
        "refusal": refusal,
        "refusal_code": refusal.code if refusal else "",
    }
    return render(page.request, "portal/chain/run.html", context)


def shared_context(page: RunPage) -> dict[str, Any]:
    rules = page.rules
    return {
        **page.frame,
        "chain": page.chain,
        "rules": rules,
        "approvals": rule_labels.approvals_label(rules.stages) if rules.stages else "",
        "risk": rule_labels.risk_badge(rules.risk),
        "has_backfill": page.has_backfill,
    }
