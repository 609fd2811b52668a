"""The run form: shows it, validates what was sent, and confirms or submits it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from flows import encryption
from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters import Invalid
from portal.admin.actions import reason_of, ticket_of
from portal.admin.problem import Problem
from portal.admin.run_form import after_run, kept, prefill_check, preset_choice, repeats, rerun
from portal.admin.run_form import draft as run_form_draft
from portal.admin.run_form.confirm import asks_name, confirm, form_url, is_submittable
from portal.admin.run_form.context import (
    LINK_PREFIX,
    Prefilled,
    RunFormContext,
    build_context,
    overrides_from,
    page_context,
    prefilled,
)
from portal.admin.run_form.draft import Draft
from portal.auth import kept_form
from portal.auth.request_user import actor_of, permissions_of
from runs import artifact_facts, requests
from runs.access.decisions import Forbidden
from runs.errors import Refused
from runs.models import Verb

CHANGED = Problem(
    "form.stale", "The parameters changed while this form was open. Check your entries below and submit again."
)
HIDDEN_INVALID = Problem(
    "parameters.hidden_invalid",
    "The run cannot use these values any more. Ask someone who can view them to request it.",
)


def view(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Show the form; on POST ask for confirmation where required, submit, or show it again with its errors."""
    # What cannot run at all has no form: its page says why.
    try:
        requests.require_submittable(deployment, scheduled_for=None)
        earlier = rerun.previous_request(request, deployment)
    except (Refused, encryption.DecryptionError) as refusal:
        messages.warning(request, str(refusal), extra_tags=getattr(refusal, "code", "key.unreadable"))
        return HttpResponseRedirect(reverse("admin:flows_deployment_change", args=[deployment.pk]))
    form = build_context(request, deployment, frame, earlier)
    if request.method != "POST":
        return show_kept(form) or show_empty(form)
    if "draft" in request.POST:
        return handle_confirmation(form)
    return handle_form(form)


def show_empty(form: RunFormContext, refusal: Problem | Refused | None = None) -> HttpResponse:
    """Show the form with nothing but its prefilled values."""
    options = overrides_from(form.request)
    if form.rerun_of:
        options = {"tags": ", ".join(form.rerun_of.spec.tags), "run_name": form.rerun_of.spec.run_name, **options}
    options = {"profile": form.profile, **options}
    values = prefilled(form)
    parameters = form.parameter_form(values)
    if parameters:
        prefill_check.mark(form, parameters, values)
    return page(form, (form.options_form(initial=options), parameters), key=uuid.uuid4(), refusal=refusal)


def show_kept(form: RunFormContext) -> HttpResponse | None:
    """Show what was entered before the user had to sign in, if anything was."""
    entries = kept_form.take(form.request)
    if entries is None:
        return None
    data, refusal, key = kept_form.as_submitted(entries["fields"]), kept.problem(entries), uuid.uuid4()
    token = str(data.get("draft", ""))
    if "draft" not in data:
        parameters = form.parameter_form(prefilled(form), data, is_partial=True)
        return page(form, (form.options_form(initial=data.dict()), parameters), key=key, refusal=refusal)
    draft = run_form_draft.read_draft(token, form.deployment, actor_of(form.request).user, form.rerun_of)
    if draft is None:
        return show_empty(form, run_form_draft.EXPIRED)
    # Someone who cannot view the values re-runs them whole; the draft lacks their secrets.
    edited_draft = "" if form.is_blind else token
    return page(form, form.form_from(draft), key=key, refusal=refusal, edited_draft=edited_draft)


def handle_form(form: RunFormContext) -> HttpResponse:
    """Validate a filled-in form, then confirm or submit it."""
    request, deployment = form.request, form.deployment
    # 1. Rebuild what the form showed.
    key = key_of(request, "submission_key") or uuid.uuid4()
    initial, edited_draft = initial_values(form), request.POST.get("edited_draft", "")
    if initial is None:
        return show_empty(form, run_form_draft.EXPIRED)
    # 2. Read it.
    filled = options, parameters = form.options_form(request.POST), form.parameter_form(initial, request.POST)
    if parameters and parameters.is_partial:
        unjudged = form.options_form(initial=request.POST.dict())
        return page(form, (unjudged, parameters), key=key, edited_draft=edited_draft)
    if parameters and not parameters.is_valid() and form.offer.schema != deployment.parameter_schema:
        # Values that only the grants leave out are refused by the service, which records the attempt.
        whole = form.parameter_form(initial, request.POST, is_whole=True)
        parameters = whole if whole and whole.is_valid() else parameters

    def show_again(refusal: Problem | Refused | Invalid | None, key: uuid.UUID = key) -> HttpResponse:
        return page(form, filled, key=key, refusal=refusal, edited_draft=edited_draft)

    # 3. Validate both parts, so that all errors show at once. A list, because `and` would stop at the first.
    is_complete = all([options.is_valid(), parameters is None or parameters.is_valid()])
    # The fingerprint comes first: errors about parameters that have changed would confuse.
    if request.POST.get("form_fingerprint", "") != deployment.schema_fingerprint:
        return show_again(CHANGED)
    if not is_complete:
        return show_again(None)
    # 4. Confirm or submit.
    draft = Draft(
        deployment,
        parameters.values if parameters else initial,
        key,
        deployment.schema_fingerprint,
        rerun_of=form.rerun_of,
        **options.run_options,
    )
    if (asks_name(form, draft) or "review" in request.POST) and is_submittable(form, draft):
        return confirm(form, draft)
    return submit(form, draft, show_again)


def initial_values(form: RunFormContext) -> dict[str, Any] | None:
    """Return what an untouched field of the submitted form means, which a draft changes; None if that has expired."""
    edited_draft = form.request.POST.get("edited_draft", "")
    if not edited_draft:
        return prefilled(form)
    draft = run_form_draft.read_draft(edited_draft, form.deployment, actor_of(form.request).user, form.rerun_of)
    return None if draft is None else draft.values


def handle_confirmation(form: RunFormContext) -> HttpResponse:
    """Submit the draft if its name was typed; else ask again, or return to the form for editing."""
    request = form.request
    draft = run_form_draft.read_draft(request.POST["draft"], form.deployment, actor_of(request).user, form.rerun_of)
    if draft is None:
        return show_empty(form, run_form_draft.EXPIRED)
    draft = replace(draft, confirmation=request.POST.get("confirmation", "").strip())
    try:
        if draft.is_quick:
            draft = replace(draft, reason=reason_of(request), ticket=ticket_of(request))
            form.rules.require_reason_and_ticket("run", reason=draft.reason, ticket=draft.ticket)
    except Refused as refusal:
        if "change" not in request.POST:
            return confirm(form, draft, error=refusal)
    edited_draft = draft.encrypt(actor_of(request).user)

    def show_again(refusal: Problem | Refused | Invalid | None, key: uuid.UUID = draft.key) -> HttpResponse:
        # The draft travels on as `edited_draft`: secrets are never shown in the form, so it would lose them.
        return page(form, form.form_from(draft), key=key, refusal=refusal, edited_draft=edited_draft)

    if "change" in request.POST:
        return show_again(None)
    if asks_name(form, draft) and not draft.is_confirmed:
        mismatch = Problem("confirmation.mismatch", f"The name does not match. Type {draft.word} to confirm.")
        return confirm(form, draft, error=mismatch)
    return submit(form, draft, show_again)


def submit(
    form: RunFormContext, draft: Draft, show_again: Callable[[Problem | Refused | Invalid, uuid.UUID], HttpResponse]
) -> HttpResponse:
    """Submit the draft and go to the request, or show the form again with the refusal."""
    try:
        run_request = draft.submit(by=actor_of(form.request))
    except Invalid as invalid:
        # The message of `Invalid` names values, which this user may not be able to view.
        return show_again(HIDDEN_INVALID if form.is_blind else invalid, draft.with_unused_key().key)
    except Refused as refusal:
        # Includes values that no grant allows; people without any permission got a 403 before.
        return show_again(refusal, draft.with_unused_key().key)
    if not form.is_blind:
        for sentence in artifact_facts.not_offered(
            draft.deployment.environment, form.flow, run_request.spec.parameters
        ):
            messages.warning(form.request, sentence)
    if repeated := repeats.hint(run_request):
        messages.warning(form.request, repeated, extra_tags="request.repeated")
    return HttpResponseRedirect(after_run.address(run_request))


def page(
    form: RunFormContext,
    filled: Prefilled,
    *,
    key: uuid.UUID,
    refusal: Problem | Refused | Invalid | None = None,
    edited_draft: str = "",
    **more: Any,
) -> HttpResponse:
    options, parameters = filled
    if isinstance(refusal, Invalid):
        if parameters:
            parameters.add_errors(refusal.errors)
        refusal = Problem("parameters.invalid", str(refusal))
    context = {
        **form.frame,
        **page_context(form),
        **preset_choice.context(form.request, form.deployment, form.preset),
        "title": f"Run {form.deployment} in {form.deployment.environment}",
        "rerun_of": form.rerun_of,
        "like": form.like,
        "query": query_of(form.request, form.deployment),
        "allowed": form.offer.sentences,
        "options": options,
        "parameters": parameters,
        "submission_key": key,
        "edited_draft": edited_draft,
        "refusal": refusal,
        "choices_url": form_url(form, "choices"),
        "filled_by": actor_of(form.request).user,
        "may_keep": not form.is_blind and permissions_of(form.request).start(form.deployment).allowed,
        **more,
    }
    return render(form.request, "portal/deployment/run.html", context)


def query_of(request: HttpRequest, deployment: Deployment) -> str:
    """Return the query of the form's own address: what is posted back must be filled in from the same.

    Without the secrets that somebody wrote into a link, which are not honoured.
    """
    kept = {name: request.GET[name] for name in (rerun.AGAIN, rerun.LIKE, preset_choice.PRESET) if name in request.GET}
    texts = {name.removeprefix(LINK_PREFIX): request.GET[name] for name in request.GET if name.startswith(LINK_PREFIX)}
    public, _ = schemas.split(deployment.parameter_schema, texts)
    kept |= {f"{LINK_PREFIX}{name}": text for name, text in public.items() if isinstance(text, str)}
    return f"?{urlencode(kept)}" if kept else ""


def key_of(request: HttpRequest, *names: str) -> uuid.UUID | None:
    """Return the first valid submission key, which makes a double click one request."""
    for name in names:
        try:
            return uuid.UUID(request.POST.get(name, ""))
        except ValueError:
            continue
    return None


def require_permission(request: HttpRequest, deployment: Deployment) -> None:
    """Raise `PermissionDenied` with the reason, for people who can neither run nor re-run the deployment."""
    decision = permissions_of(request).start(deployment)
    if not decision and rerun.AGAIN in request.GET:
        decision = permissions_of(request).decide(Verb.RERUN, deployment) or decision
    if decision:
        return
    try:
        # The service refuses too, and records the attempt in the audit trail; looking at the form is no attempt.
        if request.method == "POST":
            requests.require_start_allowed(deployment, by=actor_of(request))
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    raise PermissionDenied(decision.sentence)
