"""Parameters from a JSON document: by pointer (RFC 6901), with a default, or as constants. Hooks and rules use it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from flows import parameters as schemas
from flows.db_text import sanitize, strip_control
from flows.models import Deployment

MOST_PARAMETERS = 100
LONGEST_POINTER = 500
LONGEST_MAPPING = 50_000
INDEX = re.compile(r"0|[1-9][0-9]{0,8}")
# The forms that the entry of a parameter can have.
FORMS = ({"pointer"}, {"pointer", "default"}, {"value"})
MISSING = object()

type Mapped = dict[str, dict[str, Any]]


class Unusable(Exception):
    """A mapping that cannot be used, or a document without a value for it; `data` says which part."""

    def __init__(self, message: str, **data: Any) -> None:
        super().__init__(message)
        self.data = data


def require_usable(mapping: Any, deployment: Deployment, *, example: str) -> Mapped:
    """Return a mapping that is one for the parameters of a deployment; raises `Unusable`.

    `example` is a pointer that a message about a malformed one names.
    """
    is_object = isinstance(mapping, dict) and len(mapping) <= MOST_PARAMETERS
    if not is_object or len(json.dumps(mapping)) > LONGEST_MAPPING or not is_storable(mapping):
        raise Unusable("The mapping is not one JSON object of parameters, or is too large.")
    properties = deployment.parameter_schema.get("properties", {})
    for name, entry in mapping.items():
        if name not in properties:
            raise Unusable(f"{deployment} has no parameter “{name}”.", parameter=name)
        if not isinstance(entry, dict) or entry.keys() not in FORMS or not is_pointer(entry.get("pointer", "")):
            raise Unusable(
                f'Give “{name}” a JSON pointer such as {{"pointer": "{example}"}}, optionally with a default, or '
                'a constant such as {"value": 100}.',
                parameter=name,
            )
    # What is stored here is displayed, and is not encrypted.
    constants = {name: entry.get("value", entry.get("default")) for name, entry in mapping.items()}
    hidden = schemas.mask(deployment.parameter_schema, constants)
    for name, value in constants.items():
        if value is not None and hidden.get(name) != value:
            raise Unusable(f"“{name}” is secret: it cannot have a constant or a default.", parameter=name)
    found: Mapped = mapping
    return found


def is_storable(value: Any) -> bool:
    """Return whether Postgres stores a value as it is: not with NUL characters, lone surrogates, NaN and Infinity."""
    return bool(strip_control(value) == value)


def is_pointer(text: Any) -> bool:
    if not isinstance(text, str) or len(text) > LONGEST_POINTER or sanitize(text) != text:
        return False
    return (not text or text.startswith("/")) and not re.search("~(?![01])", text)


def parameters_of(document: Mapping[str, Any], mapping: Mapped, *, what: str) -> dict[str, Any]:
    """Return the parameters that a document gives; raises `Unusable`. `what` names the document in its message."""
    found = {}
    for name, entry in mapping.items():
        value = entry["value"] if "value" in entry else resolve(document, entry["pointer"])
        value = entry.get("default", MISSING) if value is MISSING else value
        if value is MISSING:
            raise Unusable(
                f"The {what} has nothing at “{entry['pointer']}”, which “{name}” is taken from.",
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
