"""The pages of a backfill: what varies, the other values and the pacing, and the plan with its confirmation."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters import Invalid, ParameterForm
from flows.wording import is_name_of
from portal.admin.backfill import backfill_draft
from portal.admin.backfill.backfill_draft import BackfillDraft
from portal.admin.backfill.forms import BackfillOptionsForm, RangesForm
from portal.admin.problem import Problem
from portal.admin.run_form.context import RunFormContext, build_context, page_context
from portal.admin.run_form.draft import EXPIRED
from portal.admin.run_form.page import key_of
from portal.auth.request_user import actor_of, permissions_of
from portal.ui.profile_settings import settings_of
from portal.ui.text import json_text
from runs import artifact_facts, requests
from runs.access.decisions import Forbidden, Permissions
from runs.errors import Refused
from runs.requests import Item, Outcome, Plan
from runs.requests.backfill_plan import NEEDED

# Outcome of an item -> its label and colour.
OUTCOMES: dict[Outcome, tuple[str, str]] = {
    Outcome.RUN: ("Will run", "blue"),
    Outcome.SKIP: ("Skipped", "grey"),
    Outcome.REFUSE: ("Refused", "red"),
}


@dataclass(frozen=True, slots=True)
class PlanRow:
    """One item as the plan shows it."""

    item: Item
    number: int
    cells: list[tuple[str, str]]
    state_label: str
    state_colour: str

    @classmethod
    def of(cls, item: Item, names: tuple[str, ...]) -> PlanRow:
        cells = [(name, json_text(item.varied[name])) for name in names]
        return cls(item, item.position + 1, cells, *OUTCOMES[item.outcome])


def can_backfill(permissions: Permissions, deployment: Deployment) -> bool:
    """Return whether the button is shown."""
    return all(permissions.decide(verb, deployment) for verb in NEEDED)


def view(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Show the forms; on POST the plan, and with a draft submit it."""
    require_permission(request, deployment)
    try:
        requests.require_submittable(deployment, scheduled_for=None)
    except Refused as refusal:
        messages.warning(request, str(refusal), extra_tags=refusal.code)
        return HttpResponseRedirect(reverse("admin:flows_deployment_change", args=[deployment.pk]))
    form = build_context(request, deployment, frame)
    if request.method == "POST":
        return handle_plan(form) if "draft" in request.POST else handle_form(form)
    ranges = ranges_form(form, request.GET if "first" in request.GET else None)
    if not ranges.is_valid():
        return page(form, ranges)
    return page(form, ranges, options_form(form), parameter_form(form, ranges.vary, form.offer.initial))


def require_permission(request: HttpRequest, deployment: Deployment) -> None:
    """Raise `PermissionDenied` with the reason; an attempt to submit is recorded."""
    permissions = permissions_of(request)
    denied = [decision for verb in NEEDED if not (decision := permissions.decide(verb, deployment))]
    if not denied:
        return
    if request.method == "POST":
        try:
            requests.submit_backfill(deployment, {}, {}, by=actor_of(request))
        except Forbidden as forbidden:
            raise PermissionDenied(str(forbidden)) from forbidden
    raise PermissionDenied(denied[0].sentence)


def ranges_form(form: RunFormContext, data: Any = None) -> RangesForm:
    return RangesForm(form.deployment, schemas.public_parameters(form.deployment.parameter_schema), data)


def options_form(form: RunFormContext, data: Any = None, initial: Any = None) -> BackfillOptionsForm:
    override, profiles = form.may_override, form.profiles
    return BackfillOptionsForm(form.rules, data, initial, offers_override=override, profiles=profiles)


def parameter_form(form: RunFormContext, vary: dict[str, str], initial: Any, data: Any = None) -> ParameterForm:
    """Return the form of the parameters that all items share. Their values alone are validated by it."""
    deployment = form.deployment
    suggestions, offered = artifact_facts.offers_for_form(deployment.environment, form.flow)
    return ParameterForm(
        schemas.without(form.offer.schema, vary),
        {name: value for name, value in deployment.parameter_defaults.items() if name not in vary},
        data,
        {name: value for name, value in initial.items() if name not in vary},
        suggestions=suggestions,
        offered=offered,
    )


def handle_form(form: RunFormContext) -> HttpResponse:
    """Validate what was filled in, and show the plan."""
    request = form.request
    ranges = ranges_form(form, request.POST)
    if not ranges.is_valid():
        return page(form, ranges)
    initial, edited = form.offer.initial, request.POST.get("edited_draft", "")
    if edited:
        before = backfill_draft.read_backfill(edited, form.deployment, actor_of(request).user)
        if before is None:
            return page(form, ranges, refusal=EXPIRED)
        # An untouched field means the value that it was shown with; a secret is not shown at all.
        initial = before.values
    options = options_form(form, request.POST)
    parameters = parameter_form(form, ranges.vary, initial, request.POST)
    if not all([options.is_valid(), parameters.is_valid()]) or parameters.is_partial:
        return page(form, ranges, options, parameters, edited_draft=edited)
    draft = BackfillDraft(
        form.deployment,
        ranges.vary,
        parameters.values,
        options.choices,
        key_of(request, "submission_key") or uuid.uuid4(),
    )
    return show_plan(form, draft)


def handle_plan(form: RunFormContext) -> HttpResponse:
    """Submit the plan that was displayed, or go back to the form."""
    request, by = form.request, actor_of(form.request)
    draft = backfill_draft.read_backfill(request.POST["draft"], form.deployment, by.user)
    if draft is None:
        return page(form, ranges_form(form), refusal=EXPIRED)
    if "change" in request.POST:
        return edit(form, draft)
    confirmation = request.POST.get("confirmation", "").strip()
    if form.rules.needs_confirmation and not is_name_of(form.deployment.full_name, confirmation):
        sentence = f"The name does not match. Type {form.deployment} to confirm."
        return show_plan(form, draft, Problem("confirmation.mismatch", sentence))
    try:
        change = draft.submit(
            by=by,
            displayed_plan=request.POST.get("plan", ""),
            leave_out_refused="leave_out_refused" in request.POST,
            confirmation=confirmation,
        )
    except (Refused, Invalid) as refusal:
        return show_plan(form, draft, error_of(refusal))
    return HttpResponseRedirect(reverse("admin:runs_changerequest_change", args=[change.pk]))


def edit(form: RunFormContext, draft: BackfillDraft) -> HttpResponse:
    """Show the forms as they were filled in."""
    behalf = draft.options["on_behalf_of"]
    person = User.objects.filter(pk=behalf).first() if behalf else None
    initial = {
        **draft.options,
        "on_behalf_of": person.get_username() if person else "",
        "tags": ", ".join(draft.options["tags"]),
    }
    names = ("first", "second")
    filled = {
        name: value
        for place, (parameter, values) in zip(names, draft.vary.items(), strict=False)
        for name, value in ((place, parameter), (f"{place}_values", values))
    }
    token = draft.encrypt(actor_of(form.request).user)
    parameters = parameter_form(form, draft.vary, draft.values)
    ranges = ranges_form(form, filled)
    ranges.is_valid()
    return page(form, ranges, options_form(form, initial=initial), parameters, edited_draft=token)


def show_plan(form: RunFormContext, draft: BackfillDraft, error: Problem | None = None) -> HttpResponse:
    """Show what would run; a plan that cannot be made is an error of the form."""
    try:
        plan = draft.plan(by=actor_of(form.request))
    except Refused as refusal:
        return page(form, ranges_form(form), refusal=refusal)
    context = {
        **form.frame,
        **page_context(form),
        "title": f"Review backfill of {form.deployment} in {form.deployment.environment}",
        "plan": plan,
        "rows": [PlanRow.of(item, plan.names) for item in plan.items],
        "shared": shared_values(form.deployment, draft.values),
        "options": draft.options,
        "profile": settings_of(plan.profile),
        "stops": draft.options["on_failure"] == "stop",
        "asks_name": plan.is_destructive or form.rules.needs_confirmation,
        "has_refused": bool(plan.counts[Outcome.REFUSE]),
        "draft": draft.encrypt(actor_of(form.request).user),
        "form_url": reverse("admin:flows_deployment_backfill", args=[form.deployment.pk]),
        "error": error,
        **counted(plan),
    }
    return render(form.request, "portal/backfill/plan.html", context)


def counted(plan: Plan) -> dict[str, int]:
    counts = plan.counts
    names = {"to_run": Outcome.RUN, "skipped": Outcome.SKIP, "refused": Outcome.REFUSE}
    return {name: counts[outcome] for name, outcome in names.items()}


def shared_values(deployment: Deployment, values: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the values that all items share, secrets masked."""
    masked = schemas.mask(deployment.parameter_schema, values)
    return [(name, json_text(value)) for name, value in masked.items()]


def error_of(refusal: Refused | Invalid) -> Problem:
    return Problem("parameters.invalid" if isinstance(refusal, Invalid) else refusal.code, str(refusal))


def page(
    form: RunFormContext,
    ranges: RangesForm,
    options: BackfillOptionsForm | None = None,
    parameters: ParameterForm | None = None,
    *,
    refusal: Problem | Refused | None = None,
    edited_draft: str = "",
) -> HttpResponse:
    context = {
        **form.frame,
        **page_context(form),
        "title": f"Backfill {form.deployment} in {form.deployment.environment}",
        "ranges": ranges,
        "options": options,
        "parameters": parameters,
        "allowed": form.offer.sentences,
        "submission_key": uuid.uuid4(),
        "edited_draft": edited_draft,
        "refusal": refusal,
    }
    return render(form.request, "portal/backfill/form.html", context)
