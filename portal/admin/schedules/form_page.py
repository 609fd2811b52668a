"""The form of a schedule and its review, with the next starts, before it is requested."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from flows import local_time
from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters import Invalid, ParameterForm
from flows.wording import is_name_of
from portal.admin.problem import Problem
from portal.admin.run_form import profile_choice
from portal.admin.run_form.context import RunFormContext, build_context, page_context
from portal.admin.run_form.draft import EXPIRED
from portal.admin.run_form.page import key_of
from portal.admin.schedules import schedule_draft
from portal.admin.schedules.forms import ScheduleOptionsForm
from portal.admin.schedules.schedule_draft import ScheduleDraft
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import schedule_labels
from portal.ui.text import json_text, number
from runs import artifact_facts, requests
from runs.access.decisions import Forbidden, Permissions
from runs.automation import schedule_listings, schedules
from runs.automation.ends import longest
from runs.errors import Refused
from runs.models import Schedule, Verb
from runs.requests import is_destructive

NEEDED = (Verb.TRIGGER, Verb.SCHEDULE)
# The query parameter with the schedule that is edited or renewed.
REPLACES = "replaces"
# The query parameter with where its values come from: what Prefect has of it, if it was changed there.
SOURCE, PREFECT = "from", "prefect"


def can_schedule(permissions: Permissions, deployment: Deployment) -> bool:
    """Return whether the button is shown."""
    return all(permissions.decide(verb, deployment) for verb in NEEDED)


def view(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Show the form; on POST the review, and with a draft submit it."""
    require_permission(request, deployment)
    replaces = replaced(request, deployment)
    try:
        requests.require_submittable(deployment, scheduled_for=None)
        before = schedules.reused_values(replaces, actor_of(request)) if replaces else {}
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    except Refused as refusal:
        messages.warning(request, str(refusal), extra_tags=refusal.code)
        return HttpResponseRedirect(reverse("admin:flows_deployment_change", args=[deployment.pk]))
    form = build_context(request, deployment, frame)
    if request.method == "POST":
        return handle_draft(form, replaces) if "draft" in request.POST else handle_form(form, replaces, before)
    initial = (
        initial_options(replaces, longest(form.rules))
        if replaces
        else {"time_zone": timezone.get_current_timezone_name()}
    )
    values = before if replaces else form.offer.initial
    if replaces and request.GET.get(SOURCE) == PREFECT and (copy := schedule_listings.options_of_copy(replaces)):
        values = {**values, **copy.pop("parameters")}
        initial |= {**copy, "anchor": copy["anchor"] and local_time.spell(copy["anchor"])}
    return page(form, replaces, options_form(form, replaces, initial=initial), parameter_form(form, values))


def require_permission(request: HttpRequest, deployment: Deployment) -> None:
    """Raise `PermissionDenied` with the reason; an attempt to submit is recorded by the service."""
    permissions = permissions_of(request)
    denied = [decision for verb in NEEDED if not (decision := permissions.decide(verb, deployment))]
    if not denied:
        return
    if request.method == "POST":
        try:
            schedules.require_may_request(deployment, by=actor_of(request))
        except Forbidden as forbidden:
            raise PermissionDenied(str(forbidden)) from forbidden
    raise PermissionDenied(denied[0].sentence)


def replaced(request: HttpRequest, deployment: Deployment) -> Schedule | None:
    """Return the schedule that the address names; a hidden one is a 404, like one of another deployment."""
    if REPLACES not in request.GET:
        return None
    pk = number(request.GET[REPLACES], otherwise=0) or 0
    found = schedule_listings.visible_to(permissions_of(request)).filter(pk=pk, deployment=deployment).first()
    if found is None:
        raise Http404
    return found


def initial_options(schedule: Schedule, most: timedelta) -> dict[str, Any]:
    """Return the options of a schedule; it ends as long after now as it lasted."""
    lasts = min(schedule.valid_until - schedule.created_at, most)
    return {
        **{name: getattr(schedule, name) for name in schedules.EDITABLE},
        "anchor": schedule.anchor and local_time.spell(schedule.anchor),
        "valid_until": local_time.spell(timezone.now() + lasts),
        "tags": ", ".join(schedule.spec.tags),
        "run_name": schedule.spec.run_name,
        "profile": schedule.spec.profile_name,
    }


def options_form(
    form: RunFormContext, replaces: Schedule | None, data: Any = None, initial: Any = None
) -> ScheduleOptionsForm:
    kept = replaces.spec.profile_name if replaces else ""
    profiles = profile_choice.choices(form.request, form.deployment, kept)
    return ScheduleOptionsForm(form.rules, data, initial, profiles=profiles)


def parameter_form(form: RunFormContext, initial: Mapping[str, Any], data: Any = None) -> ParameterForm:
    suggestions, offered = artifact_facts.offers_for_form(form.deployment.environment, form.flow)
    return ParameterForm(
        form.offer.schema,
        form.deployment.parameter_defaults,
        data,
        dict(initial),
        suggestions=suggestions,
        offered=offered,
    )


def handle_form(form: RunFormContext, replaces: Schedule | None, before: dict[str, Any]) -> HttpResponse:
    """Validate what was filled in, and show the review."""
    request = form.request
    initial: Mapping[str, Any] = before if replaces else form.offer.initial
    edited = request.POST.get("edited_draft", "")
    if edited:
        draft = schedule_draft.read_schedule(edited, form.deployment, actor_of(request).user, replaces)
        if draft is None:
            options = options_form(form, replaces, initial=request.POST.dict())
            return page(form, replaces, options, parameter_form(form, initial), refusal=EXPIRED)
        # An untouched field means the value that it was shown with; a secret is not shown at all.
        initial = draft.values
    options = options_form(form, replaces, request.POST)
    parameters = parameter_form(form, initial, request.POST)
    if not all([options.is_valid(), parameters.is_valid()]) or parameters.is_partial:
        return page(form, replaces, options, parameters, edited_draft=edited)
    key = key_of(request, "submission_key") or uuid.uuid4()
    return review(form, ScheduleDraft(form.deployment, parameters.values, options.choices, key, replaces))


def handle_draft(form: RunFormContext, replaces: Schedule | None) -> HttpResponse:
    """Request what was reviewed, or go back to the form."""
    request, by = form.request, actor_of(form.request)
    draft = schedule_draft.read_schedule(request.POST["draft"], form.deployment, by.user, replaces)
    if draft is None:
        options = options_form(form, replaces)
        parameters = parameter_form(form, form.offer.initial)
        return page(form, replaces, options, parameters, refusal=EXPIRED)
    if "change" in request.POST:
        return edit(form, draft)
    confirmation = request.POST.get("confirmation", "").strip()
    if asks_name(form, draft) and not is_name_of(form.deployment.full_name, confirmation):
        sentence = f"The name does not match. Type {form.deployment} to confirm."
        return review(form, draft, Problem("confirmation.mismatch", sentence))
    try:
        schedule = draft.submit(by=by, confirmation=confirmation)
    except Invalid as invalid:
        return review(form, draft, Problem("parameters.invalid", str(invalid)))
    except Refused as refusal:
        return review(form, draft, Problem(refusal.code, str(refusal)))
    return HttpResponseRedirect(reverse("admin:runs_schedule_change", args=[schedule.pk]))


def edit(form: RunFormContext, draft: ScheduleDraft) -> HttpResponse:
    """Show the form as it was filled in."""
    behalf = draft.options["on_behalf_of"]
    person = User.objects.filter(pk=behalf).first() if behalf else None
    moments = {name: draft.options[name] and local_time.spell(draft.options[name]) for name in schedule_draft.MOMENTS}
    initial = {
        **draft.options,
        **moments,
        "on_behalf_of": person.get_username() if person else "",
        "tags": ", ".join(draft.options["tags"]),
    }
    options = options_form(form, draft.replaces, initial=initial)
    token = draft.encrypt(actor_of(form.request).user)
    return page(form, draft.replaces, options, parameter_form(form, draft.values), edited_draft=token)


def asks_name(form: RunFormContext, draft: ScheduleDraft) -> bool:
    return form.rules.needs_confirmation or is_destructive(form.deployment, draft.values)


def review(form: RunFormContext, draft: ScheduleDraft, error: Problem | None = None) -> HttpResponse:
    """Show what would run, and its next starts."""
    options = draft.options
    masked = schemas.mask(form.deployment.parameter_schema, draft.values)
    context = {
        **form.frame,
        **page_context(form),
        "title": f"Review schedule of {form.deployment} in {form.deployment.environment}",
        "options": options,
        "profile": profile_choice.settings_by_name(form.deployment, options.get("profile", "")),
        "replaces": draft.replaces,
        "rule": schedule_labels.rule_text(options["rule_type"], options["rule"], options["time_zone"]),
        "catch_up": Schedule.CatchUp(options["catch_up"]).label,
        "starts": schedule_labels.starts(draft.preview(), options["time_zone"]),
        "values": [(name, json_text(value)) for name, value in masked.items()],
        "is_destructive": is_destructive(form.deployment, draft.values),
        "asks_name": asks_name(form, draft),
        "draft": draft.encrypt(actor_of(form.request).user),
        "form_url": address_of(form.deployment, draft.replaces),
        "error": error,
    }
    return render(form.request, "portal/schedule/review.html", context)


def address_of(deployment: Deployment, replaces: Schedule | None = None) -> str:
    address = reverse("admin:flows_deployment_schedule", args=[deployment.pk])
    return f"{address}?{REPLACES}={replaces.pk}" if replaces else address


def page(
    form: RunFormContext,
    replaces: Schedule | None,
    options: ScheduleOptionsForm,
    parameters: ParameterForm,
    *,
    refusal: Problem | Refused | None = None,
    edited_draft: str = "",
) -> HttpResponse:
    context = {
        **form.frame,
        **page_context(form),
        "title": f"Schedule {form.deployment} in {form.deployment.environment}",
        "replaces": replaces,
        "options": options,
        "parameters": parameters,
        "time_zones": sorted(local_time.zone_names()),
        "allowed": form.offer.sentences,
        "form_url": address_of(form.deployment, replaces),
        "submission_key": uuid.uuid4(),
        "edited_draft": edited_draft,
        "refusal": refusal,
    }
    return render(form.request, "portal/schedule/form.html", context)
