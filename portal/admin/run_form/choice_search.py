"""Answers what is typed into an input with too many choices to list."""

from __future__ import annotations

from django.http import Http404, HttpRequest, JsonResponse

from flows import encryption
from flows.models import Deployment
from flows.parameters.choices import find_choices
from portal.admin.run_form import rerun
from portal.admin.run_form.context import build_context
from runs.errors import Refused


def view(request: HttpRequest, deployment: Deployment) -> JsonResponse:
    """Return the choices of one input that contain the text: only those that the user's form would accept."""
    try:
        earlier = rerun.previous_request(request, deployment)
    except (Refused, encryption.DecryptionError) as refusal:
        raise Http404 from refusal
    form = build_context(request, deployment, {}, earlier)
    if form.is_blind:
        raise Http404
    name, term = request.GET.get("name", ""), request.GET.get("term", "")
    return JsonResponse({"choices": find_choices(form.offer.schema, name, term)})
