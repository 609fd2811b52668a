"""Panels that are rarely shown: the query for the environments also asks whether there is anything for them at all."""

from __future__ import annotations

from collections.abc import Sequence

from django.db.models import Exists
from django.http import HttpRequest

from flows.models import Environment
from portal.admin.overview import alarms
from portal.auth.request_user import actor_of
from portal.ui import audit_panel
from runs import pins

# What the names of the columns begin with.
COLUMN = "has_"
NAMES = OUTSIDE_CHANGES, OVERRIDES, PAUSED_SCHEDULES, PINS = "outside_changes", "overrides", "paused_schedules", "pins"


def facts(request: HttpRequest) -> dict[str, Exists]:
    """Return for each panel whether there is anything for it, visible or not, to be read with any row."""
    rows = {
        OUTSIDE_CHANGES: audit_panel.from_outside(),
        OVERRIDES: alarms.unreviewed(),
        PAUSED_SCHEDULES: alarms.stopped_schedules(),
        PINS: pins.of(actor_of(request).user),
    }
    return {f"{COLUMN}{name}": Exists(found.order_by()) for name, found in rows.items()}


def has_any(name: str, environments: Sequence[Environment]) -> bool:
    """Return whether to read the rows of a panel. The environments come with the `facts`; without any, it is read."""
    return not environments or bool(getattr(environments[0], f"{COLUMN}{name}"))
