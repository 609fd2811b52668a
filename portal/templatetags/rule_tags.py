"""Template tags for rules: {% loosened_rules environment %}."""

from __future__ import annotations

from typing import Any

from django import template

from flows.models import Environment
from portal.ui import loosened_rules as words

register = template.Library()


@register.inclusion_tag("portal/_loosened.html")
def loosened_rules(environment: Environment) -> dict[str, Any]:
    return {"environment": environment, "rules": words.loosened_rules(environment)}
