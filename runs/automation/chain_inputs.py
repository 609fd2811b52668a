"""The inputs of a chain as one parameter schema, for its run form and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flows.models import Deployment
from runs.automation.chain_definition import Definition

REFERENCE = "#/definitions/"
RANGE = "A range such as 2026-01..2026-06, 2026-01-01..2026-01-31/7 or 1..50, or values between commas."


def input_schema(definition: Definition, by_key: Mapping[str, Deployment]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of the inputs, and their defaults.

    An input is shown as the first parameter that has its value; each step validates it by its own schema.
    """
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    defaults: dict[str, Any] = {}
    required: list[str] = []
    for name, about in definition.inputs.items():
        key, parameter = next(uses_of(definition, name), ("", ""))
        if not key:
            # Only steps that are backfills use it.
            title = {"type": "string", "minLength": 1, "title": name, "position": len(properties)}
            properties[name] = {**title, "description": about.get("description") or RANGE}
            if "default" in about:
                given = about["default"]
                defaults[name] = ", ".join(map(str, given)) if isinstance(given, list) else str(given)
            else:
                required.append(name)
            continue
        deployment = by_key[key]
        schema = deployment.parameter_schema
        node = renamed(schema.get("properties", {}).get(parameter, {}), key)
        properties[name] = {**node, "title": name, "position": len(properties)}
        if about.get("description"):
            properties[name]["description"] = about["description"]
        for each, inner in (schema.get("definitions") or {}).items():
            definitions[f"{key}.{each}"] = renamed(inner, key)
        if "default" in about:
            defaults[name] = about["default"]
        elif parameter in deployment.parameter_defaults:
            defaults[name] = deployment.parameter_defaults[parameter]
        elif any(
            each in (by_key[step].parameter_schema.get("required") or ()) for step, each in uses_of(definition, name)
        ):
            required.append(name)
    schema = {"type": "object", "properties": properties, "required": required, "definitions": definitions}
    return schema, defaults


def uses_of(definition: Definition, name: str) -> Iterator[tuple[str, str]]:
    """Yield the steps, each with the parameter, that have their value from an input."""
    for step in definition.steps:
        for parameter, of in step.input_names.items():
            if of == name:
                yield step.key, parameter


def renamed(node: Any, key: str) -> Any:
    """Return a part of a schema with its references to definitions renamed: two deployments can use one name."""
    if isinstance(node, list):
        return [renamed(each, key) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        name: f"{REFERENCE}{key}.{value.removeprefix(REFERENCE)}"
        if name == "$ref" and isinstance(value, str) and value.startswith(REFERENCE)
        else renamed(value, key)
        for name, value in node.items()
    }
