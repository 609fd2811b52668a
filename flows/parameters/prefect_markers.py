"""Markers in values that Prefect acts on: it fills in variables and templates, and loads saved blocks.

A person may not enter one. A default of the deployment that has one is left out of what is sent, so that Prefect fills
it in, as its author meant it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from flows import canonical
from flows.parameters.schema import Schema
from flows.parameters.walk import DEEPEST, Place, children, root_place

KIND = "__prefect_kind"
REFERENCE = "$ref"
# What Prefect fills in for a kind; the name of a variable is filled in here.
SOURCES = {
    "jinja": "a template",
    "json": "JSON text",
    "workspace_variable": "the variable {variable_name}",
}


def marker_of(place: Place) -> str:
    """Return the key in the value that Prefect acts on; "" for none."""
    if not isinstance(place.value, dict):
        return ""
    if KIND in place.value:
        return KIND
    # Prefect loads the block behind any $ref that it finds, whatever the type of the parameter.
    is_block = any("block_type_slug" in node for node in place.nodes)
    return REFERENCE if REFERENCE in place.value and not is_block else ""


def left_to_prefect(schema: Schema, values: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    """Return the parameters that Prefect fills in, with the words where from: defaults with a marker, unchanged."""
    unchanged = {
        name: default
        for name, default in defaults.items()
        if name in schema.properties and (name not in values or canonical.same(values[name], default))
    }
    found: dict[str, list[str]] = {}
    for name, place in _marked(schema, unchanged):
        found.setdefault(name, []).append(_source(place.value))
    return {
        name: f"{'from' if marker_at_top(unchanged[name]) else 'partly from'} {' and '.join(dict.fromkeys(sources))}"
        for name, sources in found.items()
    }


def marker_at_top(default: Any) -> bool:
    return isinstance(default, dict) and not {KIND, REFERENCE}.isdisjoint(default)


def _marked(schema: Schema, values: dict[str, Any]) -> Iterator[tuple[str, Place]]:
    waiting = [(str(place.key), 0, place) for place in children(schema, root_place(schema, values))]
    while waiting:
        name, depth, place = waiting.pop()
        if marker_of(place):
            yield name, place
        elif depth < DEEPEST:
            waiting += [(name, depth + 1, inner) for inner in children(schema, place)]


def _source(value: Mapping[str, Any]) -> str:
    if KIND not in value:
        return "a saved block"
    words = SOURCES.get(str(value[KIND]), "Prefect")
    return words.format(variable_name=value.get("variable_name", "without a name"))
