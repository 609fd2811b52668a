"""Quick runs: with the newest values on offer and defaults for the rest, without the form."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from flows import parameters as schemas
from flows.models import Deployment, Environment
from flows.parameters import Invalid, runnable_as_is
from flows.parameters.description import describe
from portal.admin.actions import ticket_of
from portal.admin.run_form import after_run
from portal.admin.run_form.confirm import asks_name, confirm
from portal.admin.run_form.context import build_context
from portal.admin.run_form.draft import Draft
from portal.admin.run_form.page import key_of
from portal.auth.request_user import actor_of
from portal.ui.text import json_text
from runs import artifact_facts, requests
from runs.access.decisions import Forbidden, Permissions
from runs.errors import Refused
from runs.governance.preview import resolve_values
from runs.models import RunRequest, Verb

# The values that the page showed beside the button, as `token` spells them.
SHOWN = "quick_values"

Offers = Mapping[tuple[str, str], Sequence[Any]]


def offers_in(environment: Environment) -> Offers:
    """Return (flow, parameter) -> values on offer in an environment, oldest first."""
    return artifact_facts.offered(artifact_facts.newest(environment, artifact_facts.OFFERS))


def quick_values(deployment: Deployment, offers: Offers | None = None) -> dict[str, Any] | None:
    """Return the newest value on offer for each parameter that needs one and has no default.

    None if a run with these and the defaults would be refused. `offers` are those of its environment, if they were
    read already.
    """
    schema, defaults = deployment.parameter_schema, deployment.parameter_defaults
    missing = [one.name for one in describe(schema, defaults) if one.is_required]
    if missing and offers is None:
        offers = offers_in(deployment.environment)
    found = {name: (offers or {}).get((deployment.flow_name, name)) for name in missing}
    values = {name: values[-1] for name, values in found.items() if values}
    return values if runnable_as_is(schema, {**defaults, **values}) else None


def can_run_quickly(permissions: Permissions, deployment: Deployment, values: dict[str, Any] | None) -> bool:
    """Check whether this person may run it with these values; a grant may be limited to others."""
    if values is None:
        return False
    return permissions.decide(Verb.TRIGGER, deployment, resolve_values(deployment, values)).allowed


def describe_values(deployment: Deployment, values: dict[str, Any]) -> str:
    """Return "snapshot_month 2017-08", secrets masked."""
    masked = schemas.mask(deployment.parameter_schema, values)
    return ", ".join(f"{name} {json_text(value)}" for name, value in masked.items())


def token(values: dict[str, Any] | None) -> str:
    """Spell the values for a hidden input, so that a click runs what the page showed or nothing."""
    return json.dumps(values, sort_keys=True) if values else ""


def view(request: HttpRequest, deployment: Deployment, frame: dict[str, Any]) -> HttpResponse:
    """Submit a quick run, or ask for what it needs: a typed name, a reason, a ticket."""
    values = quick_values(deployment)
    if values is None:
        return HttpResponseRedirect(reverse("admin:flows_deployment_run", args=[deployment.pk]))
    try:
        require_shown(request, deployment, values, SHOWN)
        key = key_of(request, "submission_key") or uuid.uuid4()
        form = build_context(request, deployment, frame)
        draft = Draft(deployment, values, key, deployment.schema_fingerprint, is_quick=True)
        is_asked = asks_name(form, draft) or form.rules.needs_reason or form.rules.needs_ticket
        # A deleted deployment is not worth a confirmation: submitting it says that it is gone.
        if is_asked and not deployment.deleted_upstream_at:
            return confirm(form, draft)
        run_request = draft.submit(by=actor_of(request))
    except Forbidden as forbidden:
        raise PermissionDenied(str(forbidden)) from forbidden
    except (Refused, Invalid) as refusal:
        messages.warning(request, str(refusal), extra_tags=refusal.code)
        return HttpResponseRedirect(reverse("admin:flows_deployment_change", args=[deployment.pk]))
    used = f"{describe_values(deployment, values)} and default parameters" if values else "default parameters"
    messages.success(request, f"Run requested with {used}.")
    return HttpResponseRedirect(after_run.address(run_request))


def submit_selected(request: HttpRequest, deployment: Deployment, reason: str) -> RunRequest:
    """Request a quick run of one of several deployments; its submission key makes a double click one request."""
    values = quick_values(deployment)
    require_shown(request, deployment, values, f"{SHOWN}-{deployment.pk}")
    try:
        return requests.submit(
            deployment,
            values or {},
            by=actor_of(request),
            reason=reason,
            ticket=ticket_of(request),
            submission_key=key_of(request, f"submission_key-{deployment.pk}"),
            confirmation=request.POST.get(f"confirmation-{deployment}", ""),
        )
    except Invalid as invalid:
        # The list reports only refusals.
        raise Refused(
            "parameters.default_invalid", f"It cannot run with its default parameters: {invalid}"
        ) from invalid


def require_shown(request: HttpRequest, deployment: Deployment, values: dict[str, Any] | None, name: str) -> None:
    """Refuse values other than those that the page showed: newer ones may be on offer since."""
    if request.POST.get(name, "") != token(values):
        raise Refused(
            "form.stale",
            f"The values of a quick run of {deployment} changed while its page was open. Check them.",
        )
