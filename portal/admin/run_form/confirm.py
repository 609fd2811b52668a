"""The page that shows once more what would run, and asks for the name of it."""

from __future__ import annotations

import uuid
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters import Invalid
from portal.admin.requests import parameter_diff
from portal.admin.run_form import rerun
from portal.admin.run_form.context import RunFormContext, build_context, page_context
from portal.admin.run_form.draft import Draft
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import rule_labels
from runs.access.decisions import Decision, Target
from runs.governance import windows
from runs.models import Verb
from runs.requests import visibility


def is_submittable(asking: RunFormContext, draft: Draft) -> bool:
    """Whether it is worth a confirmation: what would be refused is submitted at once, so that the verb says why."""
    values = resolved(draft)
    if values is None or not can_run(asking, draft, values):
        return False
    is_refused = asking.rules.refuse_outside_window and not draft.overrides_windows
    return not is_refused or standing_of(draft).is_open


def can_run(asking: RunFormContext, draft: Draft, values: dict[str, Any]) -> Decision:
    permissions = permissions_of(asking.request)
    if draft.scheduled_for:
        return permissions.decide(Verb.TRIGGER_LATER, draft.deployment, values)
    again = permissions.decide(Verb.RERUN, draft.deployment, values) if draft.rerun_of else None
    return again or permissions.decide(Verb.TRIGGER, draft.deployment, values)


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


def confirm(asking: RunFormContext, draft: Draft, error: str = "") -> HttpResponse:
    """Show what would run, with nothing secret in it, and ask for the name of where or what it is."""
    request, deployment = asking.request, asking.deployment
    sees_all = visibility.can_view_parameters(permissions_of(request), deployment)
    last = parameter_diff.last_success(deployment) if sees_all else None
    against = parameter_diff.columns(deployment, last, asking.rerun_of)
    values = schemas.mask(deployment.parameter_schema, resolved(draft) or draft.values)
    context = {
        **asking.frame,
        **page_context(asking),
        "title": f"Confirm a run of {deployment.full_name}",
        "run_request": draft,
        "rerun_of": asking.rerun_of,
        "against": against,
        "rows": None if asking.is_blind else parameter_diff.rows(values, deployment, against),
        "closed": None if (standing := standing_of(draft)) else standing,
        "ticket_link": rule_labels.ticket_link(asking.rules, draft.ticket),
        "draft": draft.sealed(actor_of(request).user),
        "address": form_address(asking),
        "error": error,
    }
    return render(request, "portal/deployment/confirm.html", context)


def confirm_quickly(
    request: HttpRequest, deployment: Deployment, frame: dict[str, Any], key: uuid.UUID
) -> HttpResponse:
    """Have a run with nothing but its defaults confirmed."""
    asking = build_context(request, deployment, frame)
    return confirm(asking, Draft(deployment, {}, key, deployment.schema_fingerprint, is_quick=True))


def form_address(asking: RunFormContext) -> str:
    """Where a confirmation goes: of what a link filled in, only what is repeated still matters."""
    address = reverse("admin:flows_deployment_run", args=[asking.deployment.pk])
    return f"{address}?{rerun.AGAIN}={asking.rerun_of.pk}" if asking.rerun_of else address
