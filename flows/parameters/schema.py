"""Parameter schemas: checked and normalized once, then queried for what applies to a value."""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter
from typing import Any
from urllib.parse import unquote

from flows import canonical
from flows.parameters.schema_checks import COUNTS, SHAPES, TYPES, UNSUPPORTED

type Path = tuple[str | int, ...]
type Node = dict[str, Any]

# Means "no value", because None is a value.
MISSING: Any = object()

LARGEST = 1_000_000  # characters of JSON
DEEPEST = 60  # levels; deeper schemas would exhaust the stack of the recursive reader


# reason -> why a schema cannot be used, completing "… cannot be used: ….".
REASONS: dict[str, str] = {
    "circular": "one of its references leads back to itself",
    "definitions": "{place} is not an object of schemas",
    "keyword": "it uses {keyword}, which the portal does not support",
    "not_json": "it is not plain JSON",
    "not_schema": "it contains something that is not a schema where a schema belongs",
    "recursion": "it refers to itself endlessly",
    "reference": "it has a reference to something outside its definitions",
    "reference_chain": "a chain of references in it is too long",
    "slow": "checking the values against it takes longer than {seconds:g} seconds",
    "too_deep": "it is nested too deeply",
    "too_large": "it is larger than 1 MB",
    "type": "it uses a type that JSON does not have",
    "value": "its {keyword} has an invalid value",
}


class Unusable(Exception):
    """The schema itself cannot be used. `reason` is a key of `REASONS`; the message says why and whom to contact."""

    def __init__(self, reason: str, **details: object) -> None:
        self.reason = reason
        why = REASONS[reason].format(**details)
        super().__init__(
            f"The parameter schema of this deployment cannot be used: {why}. Contact the owner of the flow."
        )


MAPS = ("properties", "patternProperties", "dependentSchemas")
LISTS = ("allOf", "anyOf", "oneOf", "prefixItems")
SINGLES = ("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then")

# How Prefect accepts a reference to a saved block in place of its fields.
BLOCK_REFERENCE: Node = {
    "type": "object",
    "title": "Saved block",
    "properties": {
        "$ref": {
            "anyOf": [
                {"type": "string", "format": "uuid"},
                {
                    "type": "object",
                    "properties": {
                        "block_document_id": {"type": "string", "format": "uuid"},
                        "block_document_slug": {"type": "string", "pattern": "^[^/]+/[^/]+$"},
                    },
                    "minProperties": 1,
                    "maxProperties": 1,
                },
            ]
        }
    },
    "required": ["$ref"],
}


@dataclass(frozen=True)
class Schema:
    """A checked schema: its root, and its definitions by reference."""

    root: Node
    at: Mapping[str, Node]

    @property
    def properties(self) -> dict[str, Node]:
        """The parameters, in the order of the flow's signature."""
        return in_order(self.root["properties"])

    def effective(self, node: Node) -> Node:
        """Return the node with its reference, or its only `allOf`, merged; keys beside a reference win."""
        # Ends, because `_refuse_circles` has checked that no reference leads back to itself.
        while True:
            if "$ref" in node:
                inner = self.at[node["$ref"]]
            elif len(node.get("allOf", ())) == 1:
                inner = node["allOf"][0]
            else:
                return node
            node = {**inner, **{key: value for key, value in node.items() if key not in ("$ref", "allOf")}}

    def applying(self, nodes: Iterable[Node]) -> list[Node]:
        """Return every node that may apply to a value: through references, compositions and conditions."""
        found: dict[int, Node] = {}
        waiting = list(nodes)
        while waiting:
            for node in _same_value_nodes(waiting.pop()):
                if id(node) not in found:
                    found[id(node)] = node
                    waiting += [self.at[node["$ref"]]] if "$ref" in node else []
        return list(found.values())


def in_order(properties: dict[str, Node]) -> dict[str, Node]:
    """Return properties by their `position`."""
    # JSON objects have no order, so Prefect numbers the parameters, and models may number their fields; those without
    # a number come last, as they stand.
    return dict(sorted(properties.items(), key=lambda item: item[1].get("position", len(properties))))


def prepare(schema: Mapping[str, Any]) -> Schema:
    """Check and normalize a schema as Prefect stores it; raise `Unusable`."""
    try:
        text = json.dumps(schema)
    except (RecursionError, TypeError, ValueError):
        raise Unusable("not_json") from None
    if len(text) > LARGEST:
        raise Unusable("too_large")
    return _prepare(text)


# Cached by text: pages with many runs prepare the same few schemas again and again. Nothing may change the result.
@lru_cache(maxsize=128)
def _prepare(text: str) -> Schema:
    # 1. Normalize the definitions, under the references that point to them.
    raw = json.loads(text)
    at: dict[str, Node] = {}
    for place in ("definitions", "$defs"):
        definitions = raw.get(place, {})
        if not isinstance(definitions, dict):
            raise Unusable("definitions", place=place)
        for name, node in definitions.items():
            escaped = name.replace("~", "~0").replace("/", "~1")
            at[f"#/{place}/{escaped}"] = _tidy(node, 0)
    # 2. Normalize the root: parameters are always an object.
    root = _tidy(raw, 0)
    root.setdefault("properties", {})
    root["type"] = "object"
    _complete_keyword_arguments(root)
    # 3. Refuse references to anywhere else: resolving one would read a file or a URL.
    waiting = [root, *at.values()]
    while waiting:
        node = waiting.pop()
        waiting += parts(node)
        if "$ref" in node and node["$ref"] not in at:
            raise Unusable("reference")
    _refuse_circles(at)
    return Schema(root, at)


def _complete_keyword_arguments(root: Node) -> None:
    """Describe `**kwargs` as it is: any object, empty if nothing is given.

    Prefect before 3.9 describes the type of one argument, of none or of a dict, and requires the parameter. The schema
    does not say which parameter it is, so only the customary name counts, and only where nothing else fits.
    """
    node, required = root["properties"].get("kwargs"), root.get("required", [])
    if node is None or "kwargs" not in required or "default" in node:
        return
    objects = [form for form in node.get("anyOf", ()) if form.get("type") == "object"]
    others = [form for form in node.get("anyOf", ()) if form.get("type") not in ("object", "null")]
    kept = {key: node[key] for key in ("title", "description", "position") if key in node}
    if kept.keys() == node.keys() or (len(objects) == 1 and not others):
        root["properties"]["kwargs"] = {**(objects or [{"type": "object"}])[0], **kept, "default": {}}
        root["required"] = [name for name in required if name != "kwargs"]


def _refuse_circles(at: Mapping[str, Node]) -> None:
    """Refuse references that lead back to themselves, or form long chains, without descending into the value."""
    further = {
        ref: {one["$ref"] for one in _same_value_nodes(node, "not") if "$ref" in one} for ref, node in at.items()
    }
    depth: dict[str, int] = {}
    try:
        for ref in TopologicalSorter(further).static_order():
            depth[ref] = 1 + max((depth[inner] for inner in further[ref]), default=0)
    except CycleError:
        raise Unusable("circular") from None
    if max(depth.values(), default=0) > DEEPEST:
        raise Unusable("reference_chain")


def _same_value_nodes(node: Node, *more: str) -> Iterator[Node]:
    """Yield the node and the schemas in it that apply to the same value; references are not followed."""
    waiting = [node]
    while waiting:
        one = waiting.pop()
        yield one
        for key in ("allOf", "anyOf", "oneOf"):
            waiting += one.get(key, ())
        waiting += [one[key] for key in ("if", "then", "else", *more) if key in one]
        waiting += one.get("dependentSchemas", {}).values()


def _tidy(raw: object, depth: int) -> Node:
    """Return a copy with supported keywords only, each of a valid shape; raise `Unusable`."""
    # 1. Shapes that are no object.
    if depth > DEEPEST:
        raise Unusable("too_deep")
    if isinstance(raw, bool):
        return {} if raw else {"not": {}}
    if not isinstance(raw, dict):
        raise Unusable("not_schema")
    # 2. Keywords. Annotations are dropped, but ignoring a keyword that restricts values would accept too much.
    for key in UNSUPPORTED:
        if key in raw:
            raise Unusable("keyword", keyword=key)
    node = {key: raw[key] for key in raw if key in SHAPES}
    if isinstance(node.get("items"), list):  # a tuple in the notation of pydantic 1
        node["prefixItems"] = node.pop("items")
    for key, value in node.items():
        if not SHAPES[key](value):
            raise Unusable("value", keyword=key)
    types = node.get("type", [])
    if not TYPES.issuperset([types] if isinstance(types, str) else types):
        raise Unusable("type")
    # 3. The schemas within.
    for key in MAPS:
        if key in node:
            node[key] = {name: _tidy(inner, depth + 1) for name, inner in node[key].items()}
    for key in LISTS:
        if key in node:
            node[key] = [_tidy(inner, depth + 1) for inner in node[key]]
    for key in SINGLES:
        # A boolean stays one here: the rest of the code tells "no other keys" from "keys of any value" by it.
        if key in node and not (key == "additionalProperties" and isinstance(node[key], bool)):
            node[key] = _tidy(node[key], depth + 1)
    # 4. What the rest of the code relies on: plain references, whole counts, text as text, blocks also by name.
    if "$ref" in node:
        node["$ref"] = unquote(node["$ref"])
    for key in COUNTS:
        if key in node:
            node[key] = int(node[key])
    for key in ("title", "description"):
        if key in node:
            node[key] = str(node[key])
    if "block_type_slug" in node:
        kept = {key: node[key] for key in ("title", "description", "default", "block_type_slug") if key in node}
        return {**kept, "anyOf": [BLOCK_REFERENCE, node]}
    return node


def parts(node: Node) -> Iterator[Node]:
    """Yield the schemas directly within a schema; references are not followed."""
    for key in MAPS:
        yield from node.get(key, {}).values()
    for key in LISTS:
        yield from node.get(key, ())
    yield from (node[key] for key in SINGLES if isinstance(node.get(key), dict))


def without(schema: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return the schema of a flow without some of its parameters: other code gives their values."""
    return {
        **schema,
        "properties": {name: node for name, node in schema.get("properties", {}).items() if name not in names},
        "required": [name for name in schema.get("required", []) if name not in names],
    }


def fingerprint(schema: Mapping[str, Any]) -> str:
    """Return a digest that changes when, and only when, the meaning of the JSON changes."""
    try:
        text = canonical.text(schema)
    except (RecursionError, TypeError, ValueError):
        text = "unreadable"
    return hashlib.sha256(text.encode()).hexdigest()
