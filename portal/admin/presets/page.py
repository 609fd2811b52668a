"""Context of the page of a preset: its values beside the defaults, and what does not fit any more."""

from __future__ import annotations

from typing import Any

from django.db.models import F

from flows import parameters as schemas
from flows.models import Deployment
from portal.admin.deployments.list import is_runnable
from portal.admin.requests import parameter_diff
from portal.admin.run_form.preset_choice import PRESET
from runs.access.decisions import Permissions
from runs.actors import Actor
from runs.models import Preset
from runs.requests import presets


def context(preset: Preset, by: Actor, permissions: Permissions) -> dict[str, Any]:
    """Build the template context; its deployment may have been deleted, then nothing can be run with it."""
    is_own = by.is_same_person_as(preset.owner_id)
    named = Deployment.objects.select_related("environment__server").filter(
        environment=preset.environment_id, full_name=preset.full_name
    )
    # The one that is deployed now, else the last one.
    deployment = named.order_by(F("deleted_upstream_at").desc(nulls_first=True), "-pk").first()
    return {
        "preset": preset,
        "deployment": deployment,
        "is_own": is_own,
        "may_delete": is_own or (preset.is_shared and by.is_administrator),
        "may_load": deployment is not None and is_runnable(deployment) and permissions.start(deployment).allowed,
        "preset_parameter": PRESET,
        **(values(preset, deployment) if deployment else {}),
    }


def values(preset: Preset, deployment: Deployment) -> dict[str, Any]:
    """Compare the values with the defaults, and find what would be refused now."""
    against = parameter_diff.columns(deployment, None, None)
    shown = schemas.mask(deployment.parameter_schema, preset.parameters)
    rows = [row for row in parameter_diff.rows(shown, deployment, against) if row.name in preset.parameters]
    return {
        "rows": rows,
        "against": against,
        "is_older": preset.schema_fingerprint != deployment.schema_fingerprint,
        "problems": presets.errors_of(deployment, preset.parameters),
    }
