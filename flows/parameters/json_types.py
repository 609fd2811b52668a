"""The JSON types of parameters, for conditions that name a parameter and a value."""

from collections.abc import Mapping
from typing import Any

from flows.parameters.schema import Unusable, prepare
from flows.parameters.secrets import may_hold_secret


def parameter_types(schema: Mapping[str, Any]) -> dict[str, frozenset[str]]:
    """Return the parameters that hold no secret, in order, with their JSON types; an empty set for any type.

    There are none for a schema that cannot be used.
    """
    try:
        prepared = prepare(schema)
    except Unusable:
        return {}
    found: dict[str, frozenset[str]] = {}
    for name, node in prepared.properties.items():
        if may_hold_secret(prepared, node):
            continue
        types: set[str] = set()
        for each in prepared.applying([node]):
            named = each.get("type", [])
            types |= {named} if isinstance(named, str) else set(named)
        found[name] = frozenset(types)
    return found
