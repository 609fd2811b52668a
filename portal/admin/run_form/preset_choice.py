"""The presets that a run form offers, and the one that its address names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import Http404, HttpRequest

from flows.models import Deployment
from portal.auth.request_user import actor_of, permissions_of
from portal.ui.text import number
from runs.models import Preset
from runs.requests import presets
from runs.requests.preset_listings import PRESETS

# Query parameter of the form: the preset to load.
PRESET = "preset"


@dataclass(frozen=True, slots=True)
class Loaded:
    """A preset that fills the form, and what its reader should know about it.

    `left_out` are values that became secret after it was saved.
    """

    preset: Preset
    is_own: bool
    is_older: bool
    left_out: str


def chosen(request: HttpRequest, deployment: Deployment) -> Preset | None:
    """Return the preset that the address names: 404 for one that is not visible, or of another deployment.

    Not when the form is submitted: then a preset that was deleted meanwhile must not take away what was typed.
    """
    if not request.GET.get(PRESET):
        return None
    rows = PRESETS.rows(actor_of(request), permissions=permissions_of(request)).filter(
        environment=deployment.environment_id, full_name=deployment.full_name
    )
    pk = number(request.GET[PRESET])
    found = rows.filter(pk=pk).first() if pk is not None else None
    if found is None and request.method != "POST":
        raise Http404
    return found


def context(request: HttpRequest, deployment: Deployment, preset: Preset | None) -> dict[str, Any]:
    """Return what the form shows of presets: those to choose from, and the one that was loaded."""
    by = actor_of(request)
    found = presets.of_deployment(deployment, by=by, permissions=permissions_of(request))
    return {
        "own_presets": [each for each in found if by.is_same_person_as(each.owner_id)],
        "shared_presets": [each for each in found if not by.is_same_person_as(each.owner_id)],
        "loaded": preset and loaded(request, deployment, preset),
    }


def loaded(request: HttpRequest, deployment: Deployment, preset: Preset) -> Loaded:
    _, secret = presets.load(preset, deployment)
    return Loaded(
        preset,
        actor_of(request).is_same_person_as(preset.owner_id),
        preset.schema_fingerprint != deployment.schema_fingerprint,
        ", ".join(secret),
    )
