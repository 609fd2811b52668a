"""Asking for a run: the form, and what becomes of what was typed."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse

from flows import encryption
from flows.models import Deployment
from flows.parameters import Invalid
from portal.admin.run_form import draft as run_form_draft
from portal.admin.run_form import rerun
from portal.admin.run_form.confirm import confirm, is_submittable
from portal.admin.run_form.context import (
    Prefilled,
    RunFormContext,
    build_context,
    overrides_from,
    page_context,
    prefilled,
)
from portal.admin.run_form.draft import Draft
from portal.auth.request_user import actor_of, permissions_of
from runs import artifact_facts, requests
from runs.access.decisions import Forbidden
from runs.errors import Refused
from runs.models import Verb

CHANGED = "Its parameters changed while this form was open. Check what you typed below, and send it again."
UNSEEN = "It cannot run with those values any more. Ask somebody who may see them to ask for it."


def view(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Show the form; on POST have it confirmed where that is wanted, submit it, or show it again with what is wrong."""
    try:
        requests.require_submittable(deployment, scheduled_for=None)
        earlier = rerun.previous_request(request, deployment)
    except (Refused, encryption.DecryptionError) as refusal:
        messages.warning(request, str(refusal))
        return HttpResponseRedirect(reverse("admin:flows_deployment_change", args=[deployment.pk]))
    asking = build_context(request, deployment, frame, earlier)
    if request.method != "POST":
        return fresh(asking)
    if "draft" in request.POST:
        return submit_confirmed(asking)
    return sent(asking)


def fresh(asking: RunFormContext, refusal: str = "") -> HttpResponse:
    given = overrides_from(asking.request)
    if asking.rerun_of:
        given = {"tags": ", ".join(asking.rerun_of.tags), "run_name": asking.rerun_of.run_name, **given}
    filled = asking.options_form(initial=given), asking.parameter_form(prefilled(asking))
    return page(asking, filled, key=uuid.uuid4(), refusal=refusal)


def sent(asking: RunFormContext) -> HttpResponse:
    """The form came back, filled in."""
    request, deployment = asking.request, asking.deployment
    key = key_of(request, "submission_key") or uuid.uuid4()
    initial, kept = prefilled(asking), request.POST.get("kept", "")
    if kept:
        draft = run_form_draft.read_draft(kept, deployment, actor_of(request).user, asking.rerun_of)
        if draft is None:
            return fresh(asking, run_form_draft.TOO_OLD)
        initial = draft.values
    filled = ask, parameters = asking.options_form(request.POST), asking.parameter_form(initial, request.POST)
    if parameters and not parameters.is_valid():
        # What only the grants leave out is for the verb to refuse: that it was tried must be in the trail.
        whole = asking.parameter_form(initial, request.POST, is_whole=True)
        parameters = whole if whole and whole.is_valid() else parameters

    def again(refusal: str, key: uuid.UUID = key) -> HttpResponse:
        return page(asking, filled, key=key, refusal=refusal, kept=kept)

    # Both, so that every error shows at once.
    is_complete = all([ask.is_valid(), parameters is None or parameters.is_valid()])
    if request.POST.get("form_fingerprint", "") != deployment.schema_fingerprint:
        return again(CHANGED)
    if not is_complete:
        return again("")
    draft = Draft(
        deployment,
        parameters.values if parameters else initial,
        key,
        deployment.schema_fingerprint,
        rerun_of=asking.rerun_of,
        **ask.run_request,
    )
    if asking.rules.needs_confirmation and is_submittable(asking, draft):
        return confirm(asking, draft)
    return submit(asking, draft, again)


def submit_confirmed(asking: RunFormContext) -> HttpResponse:
    """Typed the name, typed something else, or wants to change something."""
    request = asking.request
    draft = run_form_draft.read_draft(request.POST["draft"], asking.deployment, actor_of(request).user, asking.rerun_of)
    if draft is None:
        return fresh(asking, run_form_draft.TOO_OLD)
    kept = draft.sealed(actor_of(request).user)

    def again(refusal: str, key: uuid.UUID = draft.key) -> HttpResponse:
        return page(asking, asking.form_from(draft), key=key, refusal=refusal, kept=kept)

    if "change" in request.POST:
        return again("")
    if request.POST.get("confirmation", "").strip() != draft.word:
        return confirm(asking, draft, error=f"This is not the name. Type {draft.word} to confirm.")
    return submit(asking, draft, again)


def submit(asking: RunFormContext, draft: Draft, again: Callable[[str, uuid.UUID], HttpResponse]) -> HttpResponse:
    try:
        run_request = draft.submit(by=actor_of(asking.request))
    except Invalid as invalid:
        return again(UNSEEN if asking.is_blind else str(invalid), draft.renewed().key)
    except Refused as refusal:
        # Includes values that no grant allows; people without any permission were refused before.
        return again(str(refusal), draft.renewed().key)
    if not asking.is_blind:
        for sentence in artifact_facts.not_offered(draft.deployment.environment, asking.flow, run_request.parameters):
            messages.warning(asking.request, sentence)
    return HttpResponseRedirect(reverse("admin:runs_runrequest_change", args=[run_request.pk]))


def page(
    asking: RunFormContext, filled: Prefilled, *, key: uuid.UUID, refusal: str = "", kept: str = ""
) -> HttpResponse:
    ask, parameters = filled
    context = {
        **asking.frame,
        **page_context(asking),
        "title": f"Run {asking.deployment.full_name}",
        "rerun_of": asking.rerun_of,
        "allowed": asking.offer.sentences,
        "ask": ask,
        "parameters": parameters,
        "submission_key": key,
        "kept": kept,
        "refusal": refusal,
    }
    return render(asking.request, "portal/deployment/run.html", context)


def key_of(request: HttpRequest, *names: str) -> uuid.UUID | None:
    """The key that makes a double click one request."""
    for name in names:
        try:
            return uuid.UUID(request.POST.get(name, ""))
        except ValueError:
            continue
    return None


def needs_confirmation(request: HttpRequest, deployment: Deployment) -> None:
    """403 with the decision's sentence; who sends a form all the same is in the trail."""
    decision = permissions_of(request).start(deployment)
    if not decision and rerun.AGAIN in request.GET:
        decision = permissions_of(request).decide(Verb.RERUN, deployment) or decision
    if decision:
        return
    try:
        if request.method == "POST":
            requests.require_start_allowed(deployment, by=actor_of(request))
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    raise PermissionDenied(decision.sentence)
