"""Template tags for rules and for the age of data: {% loosened_rules environment %}, {% freshness_dot %}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import template
from django.template import Context

from flows.models import Environment
from portal.ui import freshness as ages
from portal.ui import loosened_rules as words

register = template.Library()


@register.inclusion_tag("portal/_loosened.html")
def loosened_rules(environment: Environment) -> dict[str, Any]:
    return {"environment": environment, "rules": words.loosened_rules(environment)}


@register.inclusion_tag("portal/_freshness.html", takes_context=True)
def freshness_dot(context: Context) -> dict[str, Any]:
    """Render the dot of the header: of what the page is about, or of all that its reader sees."""
    found = context.get("freshness") or getattr(context.get("cl"), "freshness", None)
    return {"dot": ages.dot_of(ages.freshness_in_frame(context["request"]) if found is None else found)}


@register.inclusion_tag("portal/_sync_problems_line.html")
def sync_problems_line(freshness: Sequence[ages.Freshness]) -> dict[str, Any]:
    return {"line": ages.problems_in_one_line(freshness), "freshness": freshness}
