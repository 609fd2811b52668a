"""The mapping and the condition of a hook, and what they make of the payload of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from flows.models import Deployment
from runs.access import predicates
from runs.automation import value_mapping
from runs.automation.value_mapping import Mapped, Unusable, is_storable
from runs.errors import Refused

DEEPEST = 40

# When a hook is saved -------------------------------------------------------------------------------------------------


def require_usable(mapping: Any, deployment: Deployment) -> Mapped:
    """Return a mapping that is one; raises `Refused` with code `hook.mapping`."""
    try:
        return value_mapping.require_usable(mapping, deployment, example="/data/month")
    except Unusable as error:
        raise Refused("hook.mapping", str(error), **error.data) from error


def require_condition(predicate: Any) -> None:
    """Refuse a condition that cannot be checked."""
    errors = [] if predicate is None else predicates.problems(predicate)
    errors = errors or ([] if is_storable(predicate) else ["It has characters or numbers that cannot be stored."])
    if errors:
        raise Refused("hook.condition", f"The condition is not valid. {' '.join(errors)}")


# When a message comes -------------------------------------------------------------------------------------------------


def read(body: bytes) -> dict[str, Any]:
    """Return the payload of a message; raises `Refused` with code `hook.payload`."""
    try:
        # Unlike Python's own parser it refuses lone surrogates, NaN and Infinity, which are not JSON.
        payload = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(
            "hook.payload", "The body is not JSON. A sender that offers a content type must use application/json."
        ) from error
    if not isinstance(payload, dict):
        raise Refused("hook.payload", "The body is not a JSON object.")
    require_plain(payload, 0)
    return payload


def require_plain(value: Any, depth: int) -> None:
    """Refuse what is nested too deeply, and text that the database cannot store."""
    if depth > DEEPEST:
        raise Refused("hook.payload", f"The body is nested more than {DEEPEST} levels deep.")
    if isinstance(value, str) and "\x00" in value:
        raise Refused("hook.payload", "The body has a NUL character (U+0000), which cannot be stored.")
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    for each in inner:
        require_plain(each, depth + 1)


def satisfies(payload: Mapping[str, Any], predicate: Mapping[str, Any] | None) -> bool:
    """Return whether a payload satisfies the condition of a hook; without one, each does."""
    return predicate is None or (has_named(payload, predicate) and predicates.matches(predicate, payload))


def has_named(value: Any, predicate: Mapping[str, Any]) -> bool:
    """Return whether all members that a condition names exist, at every depth.

    JSON Schema lets a missing member pass, and a message without it would satisfy a condition on it.
    """
    named = predicate.get("properties", {})
    if not named:
        return True
    if not isinstance(value, dict):
        return False
    return all(
        name in value and (not isinstance(inner, dict) or has_named(value[name], inner))
        for name, inner in named.items()
    )


def parameters_of(payload: Mapping[str, Any], mapping: Mapped) -> dict[str, Any]:
    """Return the parameters that a payload gives; raises `Refused` with code `hook.pointer`."""
    try:
        return value_mapping.parameters_of(payload, mapping, what="body")
    except Unusable as error:
        raise Refused("hook.pointer", str(error), **error.data) from error
