"""Job variables: masked for display, and the schema that those of a work pool must meet.

`mask` also decides what may be secret: a resource profile holds no value that it would mask.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

from flows.definition import DEEPEST, PLACEHOLDER
from flows.parameters import MASK, Invalid, ParameterError, split, validate
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


# Keywords of a schema that hold schemas by name: a name in them is no keyword.
BY_NAME = ("properties", "patternProperties", "definitions", "$defs", "dependentSchemas")
# Keywords that show values, which may be secret; what a value must be does not depend on them.
SHOWING = ("default", "example", "examples")


def schema_of(template: Mapping[str, JSON]) -> dict[str, Any]:
    """Return the JSON Schema of the job variables of a base job template, without defaults; empty without one."""
    variables = template.get("variables")
    if not isinstance(variables, dict):
        return {}
    try:
        return cast("dict[str, Any]", without_values(variables))
    except RecursionError:
        # Otherwise one pool could make every sync fail. Without a schema it has no variable that can be set.
        return {}


def without_values(node: JSON) -> JSON:
    if isinstance(node, list):
        return [without_values(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        name: {each: without_values(inner) for each, inner in value.items()}
        if name in BY_NAME and isinstance(value, dict)
        else without_values(value)
        for name, value in node.items()
        if name not in SHOWING
    }


def errors_of(schema: Mapping[str, Any], variables: Mapping[str, Any]) -> list[ParameterError]:
    """Return what is wrong with job variables; those that are left out come from the deployment or the work pool."""
    try:
        validate({**schema, "properties": schema.get("properties") or {}, "required": []}, variables, defaults={})
    except Invalid as invalid:
        return list(invalid.errors)
    return []


def may_be_secret(schema: Mapping[str, Any], variables: Mapping[str, Any]) -> bool:
    """Return whether a value would be masked, by its name or by the schema."""
    _, secret = split({**schema, "properties": schema.get("properties") or {}}, variables)
    return bool(secret) or mask(variables) != dict(variables)


def has_placeholder(value: JSON) -> bool:
    """Return whether Prefect would fill something in, such as a variable or the value of a block."""
    if isinstance(value, dict):
        return any(PLACEHOLDER in name or has_placeholder(inner) for name, inner in value.items())
    if isinstance(value, list):
        return any(has_placeholder(inner) for inner in value)
    return isinstance(value, str) and PLACEHOLDER in value
