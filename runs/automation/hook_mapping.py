"""From the payload of a message to the parameters of a run: JSON pointers (RFC 6901), constants, and a condition."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import orjson

from flows import parameters as schemas
from flows.db_text import sanitize, strip_control
from flows.models import Deployment
from runs.access import predicates
from runs.errors import Refused

DEEPEST = 40
MOST_PARAMETERS = 100
LONGEST_POINTER = 500
LONGEST_MAPPING = 50_000
INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
# The forms that the entry of a parameter can have.
FORMS = ({"pointer"}, {"pointer", "default"}, {"value"})
MISSING = object()

type Mapped = dict[str, dict[str, Any]]


# When a hook is saved -------------------------------------------------------------------------------------------------


def require_usable(mapping: Any, deployment: Deployment) -> Mapped:
    """Return a mapping that is one; raises `Refused` with code `hook.mapping`."""
    is_object = isinstance(mapping, dict) and len(mapping) <= MOST_PARAMETERS
    if not is_object or len(json.dumps(mapping)) > LONGEST_MAPPING or not is_storable(mapping):
        raise Refused("hook.mapping", "The mapping is not one JSON object of parameters, or is too large.")
    properties = deployment.parameter_schema.get("properties", {})
    for name, entry in mapping.items():
        if name not in properties:
            raise Refused("hook.mapping", f"{deployment} has no parameter “{name}”.", parameter=name)
        if not isinstance(entry, dict) or entry.keys() not in FORMS or not is_pointer(entry.get("pointer", "")):
            raise Refused(
                "hook.mapping",
                f'Give “{name}” a JSON pointer such as {{"pointer": "/data/month"}}, optionally with a default, or '
                'a constant such as {"value": 100}.',
                parameter=name,
            )
    # What is stored here is displayed, and is not encrypted.
    constants = {name: entry.get("value", entry.get("default")) for name, entry in mapping.items()}
    hidden = schemas.mask(deployment.parameter_schema, constants)
    for name, value in constants.items():
        if value is not None and hidden.get(name) != value:
            raise Refused(
                "hook.mapping", f"“{name}” is secret: it cannot have a constant or a default.", parameter=name
            )
    found: Mapped = mapping
    return found


def is_storable(value: Any) -> bool:
    """Return whether Postgres stores a value as it is: not with NUL characters, lone surrogates, NaN and Infinity."""
    return bool(strip_control(value) == value)


def is_pointer(text: Any) -> bool:
    if not isinstance(text, str) or len(text) > LONGEST_POINTER or sanitize(text) != text:
        return False
    return (not text or text.startswith("/")) and not re.search("~(?![01])", text)


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
    found = {}
    for name, entry in mapping.items():
        value = entry["value"] if "value" in entry else resolve(payload, entry["pointer"])
        value = entry.get("default", MISSING) if value is MISSING else value
        if value is MISSING:
            raise Refused(
                "hook.pointer",
                f"The body has nothing at “{entry['pointer']}”, which “{name}” is taken from.",
                parameter=name,
                pointer=entry["pointer"],
            )
        found[name] = value
    return found


def resolve(value: Any, pointer: str) -> Any:
    """Return what a JSON pointer points to; `MISSING` if there is nothing."""
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and INDEX.fullmatch(key) and int(key) < len(value):
            value = value[int(key)]
        else:
            return MISSING
    return value
