"""Walks values side by side with their schema, so that each value knows which parts of the schema speak about it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from flows.parameters.schema import Node, Schema

# Deeper than any form a person fills in; Prefect and Postgres would take more, a recursive reader would not.
DEEPEST = 20

ANNOTATIONS = frozenset({"title", "description", "default", "position", "format", "writeOnly"})

FITS = {
    "array": lambda value: isinstance(value, list),
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int | float) and not isinstance(value, bool) and value == value // 1,
    "null": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "object": lambda value: isinstance(value, dict),
    "string": lambda value: isinstance(value, str),
}


class Place(NamedTuple):
    """One value, the parts of the schema that apply to it, and whether the schema has room for it at all."""

    key: str | int
    value: Any
    nodes: list[Node]
    is_known: bool


def is_free(node: Node) -> bool:
    """Whether anything goes here."""
    return ANNOTATIONS.issuperset(node)


def types_of(node: Node) -> list[str]:
    stated = node.get("type", [])
    return [stated] if isinstance(stated, str) else list(stated)


def top(schema: Schema, values: dict[str, Any]) -> Place:
    return Place("", values, schema.applying([schema.root]), True)


def inside(schema: Schema, place: Place) -> Iterator[Place]:
    if isinstance(place.value, dict):
        for name, value in place.value.items():
            nodes = [found for node in place.nodes for found in _about_name(node, name)]
            yield Place(name, value, schema.applying(nodes), bool(nodes))
    elif isinstance(place.value, list):
        fixed = max((len(node.get("prefixItems", ())) for node in place.nodes), default=0)
        nodes = []
        for index, value in enumerate(place.value):
            # Past the fixed ones all items are alike: a long list asks the schema once, not for every item.
            if index <= fixed:
                nodes = schema.applying([found for node in place.nodes for found in _about_item(node, index)])
            yield Place(index, value, nodes, bool(nodes))


def _about_name(node: Node, name: str) -> Iterator[Node]:
    if name in node.get("properties", {}):
        yield node["properties"][name]
    # Which pattern fits does not matter here: one that might apply is taken to apply.
    yield from node.get("patternProperties", {}).values()
    more = node.get("additionalProperties")
    if isinstance(more, dict):
        yield more
    elif more is True or is_free(node) or ("object" in types_of(node) and more is None and not _names_its_own(node)):
        yield {}


def _names_its_own(node: Node) -> bool:
    return "properties" in node or "patternProperties" in node


def _about_item(node: Node, index: int) -> Iterator[Node]:
    fixed = node.get("prefixItems", ())
    if index < len(fixed):
        yield fixed[index]
    elif "items" in node:
        yield node["items"]
    elif is_free(node) or "array" in types_of(node):
        yield {}
    if "contains" in node:
        yield node["contains"]


def is_misplaced(place: Place) -> bool:
    """Whether the value has a type that no part of the schema speaks of."""
    stated = [kind for node in place.nodes for kind in types_of(node)]
    if not stated or any(is_free(node) or ("type" not in node and "enum" in node) for node in place.nodes):
        return False
    return not any(FITS[kind](place.value) for kind in stated)
