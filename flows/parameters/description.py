"""Descriptions of a deployment's parameters, for its page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from flows.parameters.coercion import Slot, slot
from flows.parameters.messages import choice_labels
from flows.parameters.prefect_markers import left_to_prefect
from flows.parameters.schema import MISSING, Node, Unusable, prepare
from flows.parameters.secrets import default_of, mask
from flows.parameters.walk import types_of
from flows.prefect_api.records import JSON
from flows.wording import plain_number

TYPES = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}
FORMATS = {
    "base64": "Base64",
    "color": "color",
    "date": "date",
    "date-time": "date and time",
    "duration": "duration",
    "email": "email address",
    "fraction": "fraction",
    **dict.fromkeys(["ipv4", "ipv6", "ipvanyaddress"], "IP address"),
    **dict.fromkeys(["ipv4interface", "ipv6interface", "ipvanyinterface"], "IP interface"),
    **dict.fromkeys(["ipv4network", "ipv6network", "ipvanynetwork"], "IP network"),
    "multi-host-uri": "URL",
    "regex": "regular expression",
    "time": "time",
    "uri": "URL",
    **dict.fromkeys(["uuid", *(f"uuid{version}" for version in (1, 3, 4, 5, 6, 7, 8))], "UUID"),
    "zoneinfo": "time zone",
}
MOST_CHOICES = 12
DEEPEST_LISTS = 2  # levels of lists that are described; deeper ones are "list"


@dataclass(frozen=True, slots=True)
class Described:
    """One parameter. `default` is masked if secret, and None without `has_default`.

    `source` says where from Prefect fills in the default, which is then these words; empty for all others.
    """

    name: str
    kind: str
    is_required: bool
    has_default: bool
    default: JSON
    help: str
    source: str = ""


def describe(schema: Mapping[str, Any], defaults: Mapping[str, JSON]) -> list[Described]:
    """Describe the parameters in the order of the flow's signature; empty for a schema that cannot be used."""
    try:
        prepared = prepare(schema)
        required = prepared.root.get("required", ())
        sources = left_to_prefect(prepared, {}, defaults)
        found = [
            describe_parameter(slot(prepared, node), node, name, name in required, defaults.get(name, MISSING), schema)
            for name, node in prepared.properties.items()
        ]
        return [
            replace(one, default=source, source=source) if (source := sources.get(one.name, "")) else one
            for one in found
        ]
    except Unusable:
        return []


def describe_parameter(
    one: Slot, node: Node, name: str, is_required: bool, given: Any, schema: Mapping[str, Any]
) -> Described:
    default = default_of(one.schema, node) if given is MISSING else given
    # null is a default like others: only MISSING means that there is none.
    has_default = default is not MISSING
    # Masked through the whole schema: a default may contain secrets at any depth.
    return Described(
        name,
        kind(one) + (", optional" if one.is_nullable else ""),
        is_required and not has_default,
        has_default,
        mask(schema, {name: default})[name] if has_default else None,
        str(one.node.get("description", "")),
    )


def kind(one: Slot, lists: int = 0) -> str:
    """Describe the accepted values in a few words. `lists` counts nested lists: a type may contain itself."""
    node = one.node
    if one.is_secret:
        return "secret text"
    # Choices before types: an enum usually has a type as well, which says less.
    if one.choices:
        names = choice_labels(list(one.choices.values())[:MOST_CHOICES])
        return "one of " + ", ".join(names) + (", …" if len(one.choices) > MOST_CHOICES else "")
    if len(one.forms) > 1:
        return " or ".join(dict.fromkeys(kind(slot(one.schema, form), lists) for form in one.forms))
    types = types_of(node)
    if types == ["array"]:
        return f"list of {kind(one.item, lists + 1)}" if "items" in node and lists < DEEPEST_LISTS else "list"
    if node.get("format") in FORMATS:
        return FORMATS[node["format"]]
    return " or ".join(TYPES.get(each, each) for each in types) + limits(node) if types else "any value"


def limits(node: Node) -> str:
    """Describe the bounds, such as " from 1 to 1000" or " of at most 20 characters"."""
    words = [
        f" {word} {plain_number(node[key])}"
        for key, word in (
            ("minimum", "from"),
            ("exclusiveMinimum", "above"),
            ("maximum", "to"),
            ("exclusiveMaximum", "below"),
            ("minLength", "of at least"),
            ("maxLength", "of at most"),
        )
        if key in node
    ]
    return "".join(words) + (" characters" if "minLength" in node or "maxLength" in node else "")
