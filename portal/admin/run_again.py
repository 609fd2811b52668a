"""Asking again for what was asked for before: who may, with which values, and at which address."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import reverse

from flows.access import Decision, Forbidden, Holding
from flows.models import Deployment, Verb
from flows.parameters import MASK
from portal.admin.base import actor, holding
from portal.admin.run_log import number
from runs import lifecycle
from runs.models import Run, RunRequest

# Query parameters of the form: the request to ask for again, and a run that nobody asked for here.
AGAIN, LIKE = "again", "like"


@dataclass(frozen=True, slots=True)
class Earlier:
    """A request that is asked for again, and what it ran with, the secret values too."""

    run_request: RunRequest
    values: dict[str, Any]
    may_be_seen: bool


def earlier_of(request: HttpRequest, deployment: Deployment) -> Earlier | None:
    """The request that the address names: 404 when it may not be seen, 403 when it may not be repeated.

    Raises `Refused` when it was of another deployment, and `vault.Sealed` when its secrets cannot be opened.
    """
    if AGAIN not in request.GET:
        return None
    visible = RunRequest.objects.filter(holding(request).q(Verb.SEE, deployment="deployment__"))
    pk = number(request.GET[AGAIN])
    found = visible.select_related("deployment__environment").filter(pk=pk).first() if pk is not None else None
    if found is None:
        raise Http404
    try:
        lifecycle.must_be_repeatable(found, deployment, by=actor(request))
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    may_be_seen = found.asked_by_id == request.user.pk or bool(holding(request).decide(Verb.SEE_INPUTS, deployment))
    return Earlier(found, lifecycle.values_of(found), may_be_seen)


def values_of_run(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """What a run was started with elsewhere, as far as it is known here: secret values are not."""
    pk = number(request.GET.get(LIKE))
    if pk is None or not holding(request).decide(Verb.SEE_INPUTS, deployment):
        return {}
    run = Run.objects.filter(pk=pk, deployment=deployment).first()
    values = run.parameters.items() if run else ()
    return {name: value for name, value in values if MASK not in json.dumps(value, ensure_ascii=False)}


def address(run_request: RunRequest, deployment: Deployment, mine: Holding) -> str:
    """Of the form that asks for it again, or an empty string for whoever may not."""
    found = current(deployment)
    if found is None or not may_repeat(run_request, found, mine):
        return ""
    return f"{reverse('admin:flows_deployment_run', args=[found.pk])}?{AGAIN}={run_request.pk}"


def address_like(run: Run, mine: Holding) -> str:
    """Of the form, filled in with what a run was started with that nobody asked for here."""
    deployment = current(run.deployment) if run.deployment else None
    if deployment is None or not mine.decide(Verb.TRIGGER, deployment):
        return ""
    return f"{reverse('admin:flows_deployment_run', args=[deployment.pk])}?{LIKE}={run.pk}"


def may_repeat(run_request: RunRequest, deployment: Deployment, mine: Holding) -> Decision:
    again = mine.decide(Verb.RERUN, deployment)
    if again or run_request.asked_by_id != mine.user.pk:
        return again
    return mine.decide(Verb.TRIGGER, deployment)


def current(deployment: Deployment) -> Deployment | None:
    """The deployment of that name as it is now, for one that was deployed anew under another id."""
    if not deployment.environment.is_active:
        return None
    if deployment.gone_at is None:
        return deployment
    namesakes = Deployment.objects.filter(environment=deployment.environment_id, full_name=deployment.full_name)
    return namesakes.filter(gone_at=None).select_related("environment").first()
