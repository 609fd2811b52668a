"""Converts between values and the text of an input, in both directions."""

import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from typing import Any
from uuid import UUID

from django.utils import timezone

from flows import local_time
from flows.parameters.schema import MISSING, Node, Path, Schema
from flows.parameters.secrets import MASK, conceal, is_secret, may_hold_secret
from flows.parameters.walk import measure, types_of
from flows.wording import plain_number

SCALARS = frozenset({"boolean", "integer", "number", "string"})
# Keywords of hand-written schemas that say which type is meant where none is stated.
IMPLIED = {"properties": "object", "additionalProperties": "object", "items": "array", "prefixItems": "array"}
RETYPE = f"{MASK} enter again"


class Unreadable(Exception):
    """The text of an input is not a value; `code` is a key of `flows.parameters.messages.CODES`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class Slot:
    """One parameter as a form sees it: its schema without "or null", and the value it displays."""

    schema: Schema
    node: Node
    is_nullable: bool
    displayed: Any = MISSING

    @cached_property
    def item(self) -> "Slot":
        """The slot of one item of a list."""
        return slot(self.schema, self.node.get("items", {}))

    @cached_property
    def forms(self) -> list[Node]:
        """The variants of a value: one, or those of a union."""
        union = self.node.get("anyOf") or self.node.get("oneOf")
        return [self.schema.effective(form) for form in union] if union else [self.node]

    @cached_property
    def types(self) -> list[str]:
        """The types that a value may have; "any" for a variant without one."""
        return list(dict.fromkeys(kind for form in self.forms for kind in _types(form)))

    @cached_property
    def scalar_types(self) -> list[str]:
        """The types of a value that one line of text can hold; empty if it cannot."""
        fixed = any({"enum", "const", "anyOf", "oneOf"}.intersection(form) for form in self.forms)
        return self.types if SCALARS.issuperset(self.types) and not fixed else []

    @cached_property
    def choices(self) -> dict[str, Any]:
        """The choices by their text in the form; empty where any value may be typed."""
        values = self.node.get("enum", [self.node["const"]] if "const" in self.node else [])
        if any(isinstance(value, dict | list) for value in values):
            return {}
        # As JSON as soon as one choice is not text, so that 1 and "1" stay two choices.
        plain = {value: value for value in values if isinstance(value, str) and value}
        return plain if len(plain) == len(values) else {json.dumps(value): value for value in values}

    @cached_property
    def is_secret(self) -> bool:
        return is_secret(self.node) or any(map(is_secret, self.forms))


def _types(form: Node) -> list[str]:
    implied = [kind for keyword, kind in IMPLIED.items() if keyword in form]
    return types_of(form) or implied or ["any"]


def slot(schema: Schema, node: Node, displayed: Any = MISSING) -> Slot:
    """Build the slot of a node: resolve references, and move "or null" from the schema into `is_nullable`."""
    # 1. null among the choices.
    node, is_nullable = schema.effective(node), False
    if None in node.get("enum", ()):
        node, is_nullable = {**node, "enum": [choice for choice in node["enum"] if choice is not None]}, True
    # 2. null among the types.
    types = types_of(node)
    if "null" in types and len(types) > 1:
        node, is_nullable = {**node, "type": [kind for kind in types if kind != "null"]}, True
    # 3. null as a variant of a union. A union with one variant left is that variant; the words beside it win.
    for key in ("anyOf", "oneOf"):
        forms = node.get(key, [])
        others = [form for form in forms if types_of(schema.effective(form)) != ["null"]]
        is_nullable = is_nullable or len(others) < len(forms)
        if len(others) == 1:
            rest = {name: value for name, value in node.items() if name != key}
            inner = slot(schema, others[0])
            return Slot(schema, {**inner.node, **rest}, is_nullable or inner.is_nullable, displayed)
        if len(others) < len(forms):
            node = {**node, key: others}
    return Slot(schema, node, is_nullable, displayed)


def show_plain(value: Any, slot: Slot) -> str:
    """Return text unchanged, and anything else as JSON."""
    if value is None or value is MISSING:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def read_text(raw: str, slot: Slot) -> Any:
    return raw.replace("\r\n", "\n")  # browsers submit the line breaks of a text area as CRLF


def read_number(raw: str, slot: Slot) -> Any:
    """Return a number, or the text unchanged, which validation then refuses by its type."""
    text = raw.strip()
    # Bounded: int() raises ValueError for more than 4,300 digits.
    if re.fullmatch(r"[+-]?[0-9]{1,1000}", text):
        return int(text)
    if re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?", text):
        number = float(text)
        # By its decimal digits: as a float, 1e19 would be refused for a whole number.
        return int(Decimal(text)) if number.is_integer() and "number" not in slot.types else number
    return raw


def read_scalar(raw: str, slot: Slot) -> Any:
    """Read the text for a union of simple types: true or false first, then a number, then text; in quotes text."""
    kinds, text = slot.types, raw.strip()
    if "string" in kinds and len(kinds) > 1 and text[:1] == text[-1:] == '"':
        with suppress(ValueError, RecursionError):
            return str(json.loads(text))
    if "boolean" in kinds and text in ("true", "false"):
        return text == "true"
    number = read_number(text, slot)
    if isinstance(number, str) or not {"integer", "number"}.intersection(kinds):
        return read_text(raw, slot)
    if "string" in kinds:
        # Keep it as text for decimals: the default is a number written as text, or a float would spell it differently.
        is_number = isinstance(slot.displayed, str) and not isinstance(read_number(slot.displayed, slot), str)
        is_decimal = "number" in kinds and is_number
        if is_decimal or ("number" not in kinds and isinstance(number, float)) or repr(number) != text:
            return text
    return number


def in_digits(value: Any, slot: Slot) -> Any:
    """Return a whole number without its point where only whole numbers are allowed: the text 7.0 would stay text."""
    is_whole = isinstance(value, float) and value.is_integer() and {"any", "number"}.isdisjoint(slot.types)
    return int(value) if is_whole else value


def show_scalar(value: Any, slot: Slot) -> str:
    """Return the value as text, in quotes where it would be read as something else: the text 7 in int | str."""
    shown = show_plain(in_digits(value, slot), slot)
    is_text = not isinstance(value, str) or read_scalar(shown, slot) == value
    return shown if is_text else json.dumps(value, ensure_ascii=False)


def show_number(value: Any, slot: Slot) -> str:
    """Return a whole number without “.0”; left as it is displayed, it stays the number that it was."""
    return show_plain(plain_number(value), slot)


def read_flag(raw: str, slot: Slot) -> Any:
    """Return True, False, or the text unchanged for validation to refuse."""
    return {"true": True, "false": False}.get(raw, raw)


def show_choice(value: Any, slot: Slot) -> str:
    if value is MISSING or (value is None and slot.is_nullable):
        return ""
    # Compared as JSON, because to Python True equals 1.
    return next((code for code, one in slot.choices.items() if json.dumps(one) == json.dumps(value)), "")


def read_choice(raw: str, slot: Slot) -> Any:
    return slot.choices.get(raw, raw)


def show_ticks(value: Any, slot: Slot) -> list[str]:
    return [show_choice(one, slot.item) for one in value] if isinstance(value, list) else []


def read_ticks(raw: list[str] | str, slot: Slot) -> Any:
    codes = raw.split("\n") if isinstance(raw, str) else raw  # text comes from a link, a list from checkboxes
    return [read_choice(code, slot.item) for code in codes]


def as_moment(value: Any) -> datetime | None:
    with suppress(TypeError, ValueError):
        return datetime.fromisoformat(value)
    return None


def show_moment(value: Any, slot: Slot) -> str:
    """Return a time as a browser input accepts it: in the user's time zone, without microseconds."""
    moment = as_moment(value)
    if moment is None:
        return show_plain(value, slot)
    # Years 1 and 9999 overflow when moved to another zone; they are displayed without.
    with suppress(OverflowError, ValueError):
        local = timezone.localtime(moment) if moment.tzinfo else moment
        # Without its offset, a time that comes twice could be either.
        moment = local if local_time.is_repeated(local) else local.replace(tzinfo=None)
    return moment.isoformat(timespec="milliseconds" if moment.microsecond else "auto")


def read_moment(raw: str, slot: Slot) -> Any:
    """Add the user's time zone to a time, unless the default shows that the flow uses times without a zone."""
    moment = as_moment(raw.strip())
    if moment is None:
        return raw
    try:
        if moment.tzinfo is None and not is_zoneless(slot):
            moment = local_time.localize(moment)
    except local_time.NotATime as error:
        raise Unreadable(error.code, str(error)) from None
    return moment.isoformat()


def is_zoneless(slot: Slot) -> bool:
    """Return whether the displayed default is a time without a time zone."""
    moment = as_moment(slot.displayed)
    return moment is not None and moment.tzinfo is None


def show_json(value: Any, slot: Slot) -> str:
    """Return the value as JSON, secrets masked."""
    if value is MISSING or (value is None and slot.is_nullable):
        return ""
    return spell(_concealed(slot, value, lambda path, secret: MASK))


def read_json(raw: str, slot: Slot) -> Any:
    """Parse JSON; a secret left masked is replaced by the stored one at the same place."""
    return _concealed(slot, parse(raw), lambda path, typed: _unmask(typed, path, slot.displayed))


def redisplay_json(raw: str, slot: Slot) -> str:
    """Return the typed text for display after an error, without the secrets in it."""
    if not may_hold_secret(slot.schema, slot.node):
        return raw
    with suppress(Unreadable):
        return spell(_concealed(slot, parse(raw), lambda path, typed: MASK if typed == MASK else RETYPE))
    # What cannot be parsed cannot be masked: show nothing rather than a password.
    return ""


def _concealed(slot: Slot, value: Any, instead: Callable[[Path, Any], Any]) -> Any:
    return conceal(slot.schema, slot.node, value, instead) if may_hold_secret(slot.schema, slot.node) else value


def _unmask(typed: Any, path: Path, displayed: Any) -> Any:
    # 1. The mask stands for the stored value at this path, if there is one.
    if typed == MASK:
        with suppress(KeyError, IndexError, TypeError):
            for key in path:
                displayed = displayed[key]
            if displayed is not MISSING:
                return displayed
    # 2. Otherwise the dots would be sent as the password.
    if typed in (MASK, RETYPE):
        raise Unreadable("parameter.mask", "Enter the secret again: the dots do not stand for a stored value here.")
    return typed


def parse(raw: str) -> Any:
    """Parse JSON; raise `Unreadable` with the place of the error, or for a value that is too deep or too large."""
    try:
        value = json.loads(raw)
    except json.JSONDecodeError as error:
        raise Unreadable("parameter.json", f"Invalid JSON at line {error.lineno}, column {error.colno}.") from None
    except (RecursionError, ValueError):
        raise Unreadable(
            "parameter.json", "The JSON is nested too deeply or contains a number with thousands of digits."
        ) from None
    # Before anything recursive sees it: a form would fail, or check it for many seconds.
    if refusal := measure(value):
        raise Unreadable(*refusal)
    return value


def spell(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def show_block(value: Any, slot: Slot) -> str:
    """Return the name or id of the saved block that the value refers to."""
    reference = value.get("$ref") if isinstance(value, dict) and len(value) == 1 else None
    if isinstance(reference, dict) and len(reference) == 1:
        reference = next(iter(reference.values()))
    return str(reference).removeprefix(f"{slot.node['block_type_slug']}/") if isinstance(reference, str) else ""


def read_block(raw: str, slot: Slot) -> Any:
    """Return a reference to a saved block, in the form that Prefect resolves; JSON spells out a block."""
    name = raw.strip()
    if name.startswith("{"):
        return read_json(raw, slot)
    with suppress(ValueError):
        return {"$ref": {"block_document_id": str(UUID(name))}}
    return {"$ref": {"block_document_slug": name if "/" in name else f"{slot.node['block_type_slug']}/{name}"}}
