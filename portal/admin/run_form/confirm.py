"""The page that shows what would run and requires its name to be typed."""

from __future__ import annotations

from typing import Any

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone

from flows import parameters as schemas
from portal.admin.problem import Problem
from portal.admin.requests import parameter_diff
from portal.admin.run_form import profile_choice, rerun
from portal.admin.run_form.context import RunFormContext, page_context
from portal.admin.run_form.draft import Draft
from portal.auth.request_user import actor_of, permissions_of
from portal.ui import rule_labels
from runs import requests
from runs.access.decisions import Decision, Target
from runs.errors import Refused
from runs.governance import windows
from runs.models import Verb
from runs.requests import visibility


def is_submittable(form: RunFormContext, draft: Draft) -> bool:
    """Check whether to ask for confirmation. What would be refused is submitted at once: the service says why."""
    values = draft.resolved
    if values is None or not can_run(form, draft, values) or requests.offer_errors(draft.deployment, values):
        return False
    is_refused = form.rules.refuse_outside_window and not draft.overrides_windows
    return not is_refused or standing_of(draft).is_open


def can_run(form: RunFormContext, draft: Draft, values: dict[str, Any]) -> Decision:
    permissions = permissions_of(form.request)
    if draft.scheduled_for:
        return permissions.decide(Verb.TRIGGER_LATER, draft.deployment, values)
    # Re-running is enough only for unchanged values; `requests.submit` compares them.
    rerun_decision = permissions.decide(Verb.RERUN, draft.deployment, values) if draft.rerun_of else None
    return rerun_decision or permissions.decide(Verb.TRIGGER, draft.deployment, values)


def standing_of(draft: Draft) -> windows.Standing:
    now = timezone.now()
    return windows.standing(Target.of(draft.deployment), max(draft.scheduled_for or now, now))


def asks_name(form: RunFormContext, draft: Draft) -> bool:
    """Whether the name of the deployment or environment has to be typed."""
    return form.rules.needs_confirmation or draft.is_destructive


def confirm(form: RunFormContext, draft: Draft, error: Problem | Refused | None = None) -> HttpResponse:
    """Show what would run, secrets masked, and ask for a name, and of a quick run for its reason and ticket."""
    request, deployment = form.request, form.deployment
    sees_all = visibility.can_view_parameters(permissions_of(request), deployment)
    # Earlier values are compared only for people who could look them up anyway.
    last = parameter_diff.last_success(deployment) if sees_all else None
    against = parameter_diff.columns(deployment, last, form.rerun_of, form.like)
    # Values that are no longer valid are shown as typed: submitting them says what is wrong.
    values = schemas.mask(deployment.parameter_schema, draft.resolved or draft.values)
    context = {
        **form.frame,
        **page_context(form),
        "title": f"Review run of {deployment} in {deployment.environment}",
        "run_request": draft,
        "rerun_of": form.rerun_of,
        "profile": profile_choice.settings_by_name(deployment, draft.profile),
        "against": against,
        "rows": None if form.is_blind else parameter_diff.rows(values, deployment, against),
        "closed": None if (standing := standing_of(draft)) else standing,
        "asks_name": asks_name(form, draft),
        # What the form would have asked.
        "asks_reason": draft.is_quick,
        "asks_ticket": form.rules.needs_ticket or bool(form.rules.ticket_patterns),
        "needs_reason": form.rules.needs_reason,
        "needs_ticket": form.rules.needs_ticket,
        "reason": draft.reason,
        "ticket": draft.ticket,
        "ticket_link": rule_labels.ticket_link(form.rules, draft.ticket),
        "draft": draft.encrypt(actor_of(request).user),
        "form_url": form_url(form),
        "filled_by": actor_of(request).user,
        "error": error,
    }
    return render(request, "portal/deployment/confirm.html", context)


def form_url(form: RunFormContext, view: str = "run") -> str:
    """Return the URL that the confirmation is sent to. The draft holds everything but what is repeated."""
    url = reverse(f"admin:flows_deployment_{view}", args=[form.deployment.pk])
    if form.rerun_of:
        return f"{url}?{rerun.AGAIN}={form.rerun_of.pk}"
    return f"{url}?{rerun.LIKE}={form.like.pk}" if form.like else url
