"""Job variables for display: the values that may be secret are masked."""

from __future__ import annotations

import re
from collections.abc import Mapping

from flows.definition import DEEPEST
from flows.parameters import MASK
from flows.prefect_api.records import JSON

# Values with such a name are masked at any depth, and so is everything under "env".
SECRET_NAMES = re.compile(r"pass|secret|token|credential|api.?key|private|auth", re.IGNORECASE)


def mask(variables: Mapping[str, JSON], depth: int = 0) -> dict[str, JSON]:
    """Return a copy with possible secrets masked: environment variables, and values with a telling name."""
    return {name: mask_value(name, value, depth) for name, value in variables.items()}


def mask_value(name: str, value: JSON, depth: int) -> JSON:
    if isinstance(value, dict | list) and depth >= DEEPEST:
        return MASK
    if isinstance(value, dict):
        # The names in such a dict are harmless and useful; only its values are masked.
        if name == "env" or SECRET_NAMES.search(name):
            return dict.fromkeys(value, MASK)
        return mask(value, depth + 1)
    if isinstance(value, list):
        return [mask_value(name, inner, depth + 1) for inner in value]
    return MASK if value not in (None, "") and SECRET_NAMES.search(name) else value
