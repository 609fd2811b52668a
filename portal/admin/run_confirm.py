"""The page that shows once more what would run, and asks for the name of it."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from flows import parameters as schemas
from flows.access import Decision, Target
from flows.models import Deployment, Verb
from flows.parameters import Invalid
from portal import rule_words
from portal.admin import comparing, run_again
from portal.admin.base import actor, holding
from portal.admin.run_asking import Asking, begin, surroundings
from portal.admin.run_draft import Draft
from runs import looking, windows


def is_promising(asking: Asking, draft: Draft) -> bool:
    """Whether it is worth a confirmation: what would be refused is submitted at once, so that the verb says why."""
    values = resolved(draft)
    if values is None or not may_run(asking, draft, values):
        return False
    is_refused = asking.rules.refuses_outside and not draft.overrides_windows
    return not is_refused or standing_of(draft).is_open


def may_run(asking: Asking, draft: Draft, values: dict[str, Any]) -> Decision:
    mine = holding(asking.request)
    if draft.scheduled_for:
        return mine.decide(Verb.TRIGGER_LATER, draft.deployment, values)
    again = mine.decide(Verb.RERUN, draft.deployment, values) if draft.again_of else None
    return again or mine.decide(Verb.TRIGGER, draft.deployment, values)


def resolved(draft: Draft) -> dict[str, Any] | None:
    """Everything it would run with, or None when that is not valid any more."""
    deployment = draft.deployment
    try:
        return schemas.validate(deployment.parameter_schema, draft.values, defaults=deployment.parameter_defaults)
    except Invalid:
        return None


def standing_of(draft: Draft) -> windows.Standing:
    now = timezone.now()
    return windows.standing(Target.of(draft.deployment), max(draft.scheduled_for or now, now))


def confirm(asking: Asking, draft: Draft, error: str = "") -> HttpResponse:
    """Show what would run, with nothing secret in it, and ask for the name of where or what it is."""
    request, deployment = asking.request, asking.deployment
    sees_all = looking.may_see_inputs(holding(request), deployment)
    last = comparing.last_success(deployment) if sees_all else None
    against = comparing.columns(deployment, last, asking.again_of)
    values = schemas.mask(deployment.parameter_schema, resolved(draft) or draft.values)
    context = {
        **asking.frame,
        **surroundings(asking),
        "title": f"Confirm a run of {deployment.full_name}",
        "wish": draft,
        "again_of": asking.again_of,
        "against": against,
        "rows": None if asking.is_blind else comparing.rows(values, deployment, against),
        "closed": None if (standing := standing_of(draft)) else standing,
        "ticket_link": rule_words.ticket_link(asking.rules, draft.ticket),
        "draft": draft.sealed(actor(request).user),
        "address": form_address(asking),
        "error": error,
    }
    return render(request, "portal/deployment/confirm.html", context)


def confirm_quickly(
    request: HttpRequest, deployment: Deployment, frame: dict[str, Any], key: uuid.UUID
) -> HttpResponse:
    """Have a run with nothing but its defaults confirmed."""
    asking = begin(request, deployment, frame)
    return confirm(asking, Draft(deployment, {}, key, deployment.schema_fingerprint, is_quick=True))


def form_address(asking: Asking) -> str:
    """Where a confirmation goes: of what a link filled in, only what is repeated still matters."""
    address = reverse("admin:flows_deployment_run", args=[asking.deployment.pk])
    return f"{address}?{run_again.AGAIN}={asking.again_of.pk}" if asking.again_of else address
