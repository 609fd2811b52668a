"""Template tags for the audit entries of a row and for its versions."""

from __future__ import annotations

from typing import Any

from django import template
from django.db.models import Model
from django.template import Context

from portal.ui import audit_panel

register = template.Library()

# Tags, not context: Django's own change forms render them too, and those have no view of ours.


@register.inclusion_tag("portal/audit/_trail.html", takes_context=True)
def trail_of(context: Context, row: Model | None) -> dict[str, Any]:
    return audit_panel.entries_about(context["request"], row)


@register.inclusion_tag("portal/_history.html", takes_context=True)
def history_of(context: Context, row: Model | None) -> dict[str, Any]:
    return audit_panel.versions(context["request"], row)
