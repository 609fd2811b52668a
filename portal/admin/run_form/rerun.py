"""Asking again for what was asked for before: who may, with which values, and at which address."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import reverse

from flows.models import Deployment
from flows.parameters import MASK
from portal.auth.request_user import actor_of, permissions_of
from portal.ui.text import number
from runs import requests
from runs.access.decisions import Decision, Forbidden, Permissions
from runs.models import Run, RunRequest, Verb

# Query parameters of the form: the request to ask for again, and a run that nobody asked for here.
AGAIN, LIKE = "again", "like"


@dataclass(frozen=True, slots=True)
class PreviousRequest:
    """A request that is asked for again, and what it ran with, the secret values too."""

    run_request: RunRequest
    values: dict[str, Any]
    may_be_seen: bool


def previous_request(request: HttpRequest, deployment: Deployment) -> PreviousRequest | None:
    """The request that the address names: 404 when it may not be seen, 403 when it may not be repeated.

    Raises `Refused` when it was of another deployment, `encryption.DecryptionError` when its secrets do not decrypt.
    """
    if AGAIN not in request.GET:
        return None
    visible = RunRequest.objects.filter(permissions_of(request).q(Verb.SEE, deployment="deployment__"))
    pk = number(request.GET[AGAIN])
    found = visible.select_related("deployment__environment").filter(pk=pk).first() if pk is not None else None
    if found is None:
        raise Http404
    try:
        requests.require_rerun_allowed(found, deployment, by=actor_of(request))
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    may_be_seen = found.requested_by_id == request.user.pk or bool(
        permissions_of(request).decide(Verb.SEE_INPUTS, deployment)
    )
    return PreviousRequest(found, requests.values_of(found), may_be_seen)


def values_of_run(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """What a run was started with elsewhere, as far as it is known here: secret values are not."""
    pk = number(request.GET.get(LIKE))
    if pk is None or not permissions_of(request).decide(Verb.SEE_INPUTS, deployment):
        return {}
    run = Run.objects.filter(pk=pk, deployment=deployment).first()
    values = run.parameters.items() if run else ()
    return {name: value for name, value in values if MASK not in json.dumps(value, ensure_ascii=False)}


def address(run_request: RunRequest, deployment: Deployment, permissions: Permissions) -> str:
    """The address of the re-run form, or an empty string without permission."""
    found = current_deployment(deployment)
    if found is None or not can_rerun(run_request, found, permissions):
        return ""
    return f"{reverse('admin:flows_deployment_run', args=[found.pk])}?{AGAIN}={run_request.pk}"


def address_like(run: Run, permissions: Permissions) -> str:
    """Of the form, filled in with what a run was started with that nobody asked for here."""
    deployment = current_deployment(run.deployment) if run.deployment else None
    if deployment is None or not permissions.decide(Verb.TRIGGER, deployment):
        return ""
    return f"{reverse('admin:flows_deployment_run', args=[deployment.pk])}?{LIKE}={run.pk}"


def can_rerun(run_request: RunRequest, deployment: Deployment, permissions: Permissions) -> Decision:
    again = permissions.decide(Verb.RERUN, deployment)
    if again or run_request.requested_by_id != permissions.user.pk:
        return again
    return permissions.decide(Verb.TRIGGER, deployment)


def current_deployment(deployment: Deployment) -> Deployment | None:
    """The deployment of that name now, which may have been redeployed under another id."""
    if not deployment.environment.is_active:
        return None
    if deployment.deleted_upstream_at is None:
        return deployment
    namesakes = Deployment.objects.filter(environment=deployment.environment_id, full_name=deployment.full_name)
    return namesakes.filter(deleted_upstream_at=None).select_related("environment").first()
