"""Walks values together with their schema: for each value, the parts of the schema that apply to it."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from flows.parameters.schema import Node, Path, Schema

# Levels. Deeper than any form; Prefect and Postgres would accept more, recursive code would not.
DEEPEST = 20
# Values in all of a run's parameters. 200,000 of them took 9 s to check.
MOST_VALUES = 50_000
TOO_DEEP = f"Nested more than {DEEPEST} levels deep."
TOO_MANY = f"Contains more than {MOST_VALUES:,} values."

# Keywords that restrict nothing.
ANNOTATIONS = frozenset({"title", "description", "default", "examples", "position", "format", "writeOnly"})

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
    """One value, the parts of the schema that apply to it, and whether the schema allows it at all."""

    key: str | int
    value: Any
    nodes: list[Node]
    is_known: bool


def is_free(node: Node) -> bool:
    """Return whether the node allows any value."""
    return ANNOTATIONS.issuperset(node)


def types_of(node: Node) -> list[str]:
    """Return the types of a node as a list; empty for any type."""
    stated = node.get("type", [])
    return [stated] if isinstance(stated, str) else list(stated)


def root_place(schema: Schema, values: dict[str, Any]) -> Place:
    """Return the place of all values, where a walk begins."""
    return Place("", values, schema.applying([schema.root]), True)


def children(schema: Schema, place: Place) -> Iterator[Place]:
    """Yield the places directly within a place: values of an object, items of a list."""
    if isinstance(place.value, dict):
        for name, value in place.value.items():
            nodes = [found for node in place.nodes for found in _property_nodes(node, name)]
            yield Place(name, value, schema.applying(nodes), bool(nodes))
    elif isinstance(place.value, list):
        fixed = max((len(node.get("prefixItems", ())) for node in place.nodes), default=0)
        nodes = []
        for index, value in enumerate(place.value):
            # Items after the fixed ones share their nodes: a long list queries the schema once, not per item.
            if index <= fixed:
                nodes = schema.applying([found for node in place.nodes for found in _item_nodes(node, index)])
            yield Place(index, value, nodes, bool(nodes))


def without_unknown_keys(schema: Schema, values: dict[str, Any]) -> tuple[dict[str, Any], list[Path]]:
    """Return the values without the keys that their models do not have, and where those were."""
    dropped: list[Path] = []

    def copy(place: Place, path: Path) -> Any:
        if len(path) > DEEPEST or not isinstance(place.value, dict | list):
            return place.value
        is_model = any(_has_named_properties(node) for node in place.nodes)
        kept: dict[str | int, Any] = {}
        for inner in children(schema, place):
            if is_model and isinstance(place.value, dict) and not inner.is_known:
                dropped.append((*path, inner.key))
            else:
                kept[inner.key] = copy(inner, (*path, inner.key))
        return kept if isinstance(place.value, dict) else list(kept.values())

    return copy(root_place(schema, values), ()), dropped


def _property_nodes(node: Node, name: str) -> Iterator[Node]:
    if name in node.get("properties", {}):
        yield node["properties"][name]
    # Patterns are not checked here: one that might apply counts, because hiding too much is safe.
    yield from node.get("patternProperties", {}).values()
    more = node.get("additionalProperties")
    if isinstance(more, dict):
        yield more
    elif (
        more is True
        or is_free(node)
        or ("object" in types_of(node) and more is None and not _has_named_properties(node))
    ):
        yield {}


def _has_named_properties(node: Node) -> bool:
    return "properties" in node or "patternProperties" in node


def _item_nodes(node: Node, index: int) -> Iterator[Node]:
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
    """Return whether the value has a type that no part of the schema allows."""
    # Without a type, or with an untyped choice list, any type may be right.
    stated = [kind for node in place.nodes for kind in types_of(node)]
    if not stated or any(is_free(node) or ("type" not in node and "enum" in node) for node in place.nodes):
        return False
    return not any(FITS[kind](place.value) for kind in stated)


def measure(value: Any) -> tuple[str, str] | None:
    """Return code and sentence if a value is too deep or has too many parts; without recursion, level by level."""
    level, count = [value], 0
    for _ in range(DEEPEST + 1):
        inner = [part for part in level if isinstance(part, dict | list)]
        level = [each for part in inner for each in (part.values() if isinstance(part, dict) else part)]
        count += len(level)
        if count > MOST_VALUES:
            return "parameter.too_large", TOO_MANY
        if not level:
            return None
    return "parameter.too_deep", TOO_DEEP
