"""Choices that are too many to list: searched while typing, and judged when the form is submitted."""

import json
from collections.abc import Mapping
from contextlib import suppress
from itertools import islice
from typing import Any
from urllib.parse import unquote

from flows.parameters.coercion import Slot, slot
from flows.parameters.schema import MISSING, Node, Schema, Unusable, prepare

# Up to this many choices are a select.
MOST_SELECTABLE = 100
MOST_FOUND = 50


def typable(code: str) -> str:
    """Return what to type for a choice: JSON where an input would change the text."""
    return code if code == " ".join(code.splitlines()).strip() else json.dumps(code, ensure_ascii=False)


def first_choices(slot: Slot, count: int) -> list[str]:
    return [typable(code) for code in islice(slot.choices, count)]


def show_searched(value: Any, slot: Slot) -> str:
    # `show_choice` finds the same by comparing every choice, which takes long for thousands.
    code = value if isinstance(value, str) and value in slot.choices else "" if value is MISSING else json.dumps(value)
    return typable(code) if code in slot.choices else ""


def read_searched(raw: str, slot: Slot) -> Any:
    """Return the choice of this text, or the text unchanged for validation to refuse."""
    code = code_of(raw, slot)
    return raw if code is None else slot.choices[code]


def code_of(raw: str, slot: Slot) -> str | None:
    """Return the choice that this text stands for, as the form spells it; None if it is none."""
    text = raw.strip()
    codes = [raw, text, json.dumps(text)]
    with suppress(ValueError, RecursionError):
        codes.append(str(json.loads(text)))
    return next((code for code in codes if code in slot.choices), None)


def find_choices(schema: Mapping[str, Any], name: str, term: str) -> list[str]:
    """Return at most `MOST_FOUND` choices of an input that contain the term, those that begin with it first."""
    try:
        prepared = prepare(schema)
        found = _slot_at(prepared, prepared.root, name)
    except Unusable:
        return []
    return [] if found is None or found.is_secret else matching(found, term)


def matching(slot: Slot, term: str) -> list[str]:
    wanted = term.strip().casefold()
    matches = [code for code in slot.choices if wanted in code.casefold()]
    matches.sort(key=lambda code: not code.casefold().startswith(wanted))  # stable: else in the order of the schema
    return [typable(code) for code in matches[:MOST_FOUND]]


def _slot_at(schema: Schema, node: Node, name: str) -> Slot | None:
    """Return the slot of the input with this HTML name, as `ParameterForm` makes it from a path."""
    one = slot(schema, node)
    for part in map(unquote, name.split(".")):
        properties = one.node.get("properties", {})
        inner = properties.get(part, one.node.get("items", MISSING) if part.isdecimal() else MISSING)
        if inner is MISSING:
            return None
        one = slot(schema, inner)
    return one
