"""Template tags for rules and lists: {% loosened_rules environment %}, {% freshness_line freshness %}."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import template

from flows.models import Environment
from portal.ui import freshness as ages
from portal.ui import loosened_rules as words

register = template.Library()


@register.inclusion_tag("portal/_loosened.html")
def loosened_rules(environment: Environment) -> dict[str, Any]:
    return {"environment": environment, "rules": words.loosened_rules(environment)}


@register.inclusion_tag("portal/_freshness_line.html")
def freshness_line(freshness: Sequence[ages.Freshness]) -> dict[str, Any]:
    return {"line": ages.in_one_line(freshness), "freshness": freshness}
