"""Re-running an earlier request or run: permission, values, and the URL of the prefilled form."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest
from django.urls import reverse

from flows import deployments
from flows import parameters as schemas
from flows.models import Deployment
from flows.parameters import MASK
from portal.auth.request_user import permissions_of
from portal.ui.text import number
from runs import requests
from runs.access.decisions import Decision, Forbidden, Permissions
from runs.models import Run, RunRequest, Verb
from runs.requests import visibility

# Query parameters of the form: a request to re-run, and a run started outside the portal to copy values from.
AGAIN, LIKE = "again", "like"


@dataclass(frozen=True, slots=True)
class PreviousRequest:
    """The request to re-run and its values, secrets included. `is_visible`: the user can view them."""

    run_request: RunRequest
    values: dict[str, Any]
    is_visible: bool


def previous_request(request: HttpRequest, deployment: Deployment) -> PreviousRequest | None:
    """Return the request named in the URL: 404 if the user cannot see it, 403 if they cannot re-run it.

    Raises `Refused` for a request of another deployment, `encryption.DecryptionError` for unreadable secrets.
    """
    if AGAIN not in request.GET:
        return None
    visible = RunRequest.objects.filter(permissions_of(request).q(Verb.SEE, deployment="deployment__"))
    pk = number(request.GET[AGAIN])
    found = (
        visible.select_related("deployment__environment", "change", "spec").filter(pk=pk).first()
        if pk is not None
        else None
    )
    if found is None:
        raise Http404
    try:
        requests.require_rerun_allowed(found, deployment, permissions_of(request))
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    permissions = permissions_of(request)
    is_visible = visibility.can_view_as_requester(permissions, found) or bool(
        permissions.decide(Verb.SEE_INPUTS, deployment)
    )
    values = requests.values_of(found)
    # Before the form shows them: what was secret then may stand in an ordinary field of today's schema.
    public, _ = schemas.split(deployment.parameter_schema, values)
    requests.require_secrets_hidden(found, public)
    return PreviousRequest(found, values, is_visible)


def run_to_copy(request: HttpRequest, deployment: Deployment) -> Run | None:
    """Return the run that the address names to copy values from, if the user can view them."""
    pk = number(request.GET.get(LIKE))
    if pk is None or not permissions_of(request).decide(Verb.SEE_INPUTS, deployment):
        return None
    return Run.objects.filter(pk=pk, deployment__in=deployments.of_one_name(deployment)).first()


def values_of_run(run: Run | None) -> dict[str, Any]:
    """Return the parameters of a run, without those that contain a masked secret: the real values are not stored."""
    values = run.parameters.items() if run else ()
    return {name: value for name, value in values if MASK not in json.dumps(value, ensure_ascii=False)}


def form_url(run_request: RunRequest, deployment: Deployment, permissions: Permissions) -> str:
    """Return the URL of the form that re-runs a request, or an empty string without permission."""
    found = deployments.current(deployment)
    if found is None or not found.environment.is_active or not can_rerun(run_request, found, permissions):
        return ""
    return f"{reverse('admin:flows_deployment_run', args=[found.pk])}?{AGAIN}={run_request.pk}"


def form_url_like(run: Run, permissions: Permissions) -> str:
    """Return the URL of the form with the values of a run that was started outside the portal, or an empty string."""
    deployment = deployments.current(run.deployment) if run.deployment else None
    if deployment is None or not deployment.environment.is_active or not permissions.decide(Verb.TRIGGER, deployment):
        return ""
    return f"{reverse('admin:flows_deployment_run', args=[deployment.pk])}?{LIKE}={run.pk}"


def can_rerun(run_request: RunRequest, deployment: Deployment, permissions: Permissions) -> Decision:
    decision = permissions.decide(Verb.RERUN, deployment)
    # Re-running one's own request is no more than requesting it again.
    if decision or run_request.change.requested_by_id != permissions.user.pk:
        return decision
    return permissions.decide(Verb.TRIGGER, deployment)
