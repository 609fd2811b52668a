"""Template tags for the audit entries of a row and for its versions."""

from __future__ import annotations

from typing import Any

from django import template
from django.conf import settings
from django.db.models import Model
from django.template import Context

from portal.ops import database_checks
from portal.ui import audit_panel

register = template.Library()

# Tags, not context: Django's own change forms render them too, and those have no view of ours.


@register.inclusion_tag("portal/audit/_trail.html", takes_context=True)
def trail_of(context: Context, row: Model | None) -> dict[str, Any]:
    return audit_panel.entries_about(context["request"], row)


@register.inclusion_tag("portal/_history.html", takes_context=True)
def history_of(context: Context, row: Model | None) -> dict[str, Any]:
    return audit_panel.versions(context["request"], row)


@register.inclusion_tag("portal/audit/_protection.html")
def protection() -> dict[str, Any]:
    """Show what does not protect the trail; where that is usual, as a notice."""
    return {"problems": database_checks.problems()}


@register.inclusion_tag("portal/audit/_protection.html", takes_context=True)
def protection_alarm(context: Context) -> dict[str, Any]:
    """Show it to administrators and auditors of a portal in production; a demo has no role of its own."""
    may_see = settings.PRODUCTION and context["request"].user.has_perm("runs.view_auditentry")
    return {"problems": database_checks.problems() if may_see else []}


@register.inclusion_tag("portal/audit/_outside.html", takes_context=True)
def outside_changes(context: Context) -> dict[str, Any]:
    """Show administrators and auditors which rules were changed past the portal lately."""
    return {"entries": audit_panel.outside_changes(context["request"])}
