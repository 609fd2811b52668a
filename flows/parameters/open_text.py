"""Text of parameters whose type allows text among other things, or states no type: one rule for forms and commands."""

import json
from typing import Any

from flows.parameters import coercion
from flows.parameters.coercion import Slot, Unreadable

# What begins so is JSON, so that a typing error in a list does not turn it into text.
JSON_STARTS = ("[", "{", '"')
HINT = " For text that begins with [, { or a quotation mark, write a JSON string in quotes."


def is_open(slot: Slot) -> bool:
    """Return whether a text may be the value, or JSON for another one."""
    return not slot.scalar_types and not {"any", "string"}.isdisjoint(slot.types)


def read_open(raw: str, slot: Slot) -> Any:
    """Return the value of JSON, else the text itself; what begins like JSON must be JSON."""
    if raw.lstrip().startswith(JSON_STARTS):
        try:
            return coercion.read_json(raw, slot)
        except Unreadable as refusal:
            raise Unreadable(refusal.code, f"{refusal}{HINT}") from None
    # Some types are stated: a number is one only where numbers are allowed.
    if "any" not in slot.types:
        return coercion.read_scalar(raw, slot)
    try:
        return coercion.parse(raw)
    except Unreadable:
        return coercion.read_text(raw, slot)


def show_open(value: Any, slot: Slot) -> str:
    """Return text as it is where it reads back the same, and anything else as JSON."""
    if isinstance(value, str) and value and not value.lstrip().startswith(JSON_STARTS):
        back = read_open(value, slot)
        if isinstance(back, str) and back == value:
            return value
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    return coercion.show_json(coercion.in_digits(value, slot), slot)
