"""The sentence a reader gets for each keyword that a value does not satisfy; none repeats the value."""

import json
from collections.abc import Callable
from typing import Any

from jsonschema.exceptions import ValidationError

from flows.parameters.formats import FORMAT_SENTENCES

KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "empty",
    "number": "a number",
    "object": "an object with named values",
    "string": "text",
}
SHOWN = 20


def one_of(words: list[str]) -> str:
    *others, last = words or ["something else"]
    return f"{', '.join(others)} or {last}" if others else last


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def spelled(value: Any) -> str:
    text = value if isinstance(value, str) and value else json.dumps(value)
    return text if len(text) <= 60 else text[:59] + "…"


def _type(kinds: str | list[str]) -> str:
    kinds = [kinds] if isinstance(kinds, str) else kinds
    named = [kind for kind in kinds if kind != "null"] or ["null"]
    return f"Must be {one_of([KINDS.get(kind, kind) for kind in named])}."


def _enum(choices: list[Any]) -> str:
    shown = ", ".join(spelled(choice) for choice in choices[:SHOWN])
    return f"Must be one of: {shown}{' and others' if len(choices) > SHOWN else ''}."


SENTENCES: dict[str, Callable[[Any], str]] = {
    "const": lambda only: f"Must be {spelled(only)}.",
    "contains": lambda inner: "Does not hold an item that it must hold.",
    "dependentRequired": lambda names: "A value that belongs to this one is missing.",
    "enum": _enum,
    "exclusiveMaximum": lambda bound: f"Must be less than {spelled(bound)}.",
    "exclusiveMinimum": lambda bound: f"Must be greater than {spelled(bound)}.",
    "format": lambda name: FORMAT_SENTENCES.get(name, f"Must be written as {name}."),
    "maxItems": lambda count: f"May have at most {plural(count, 'item')}.",
    "maxLength": lambda count: f"May have at most {plural(count, 'character')}.",
    "maxProperties": lambda count: f"May have at most {plural(count, 'name')}.",
    "maximum": lambda bound: f"Must be at most {spelled(bound)}.",
    "minItems": lambda count: f"Must have at least {plural(count, 'item')}.",
    "minLength": lambda count: f"Must have at least {plural(count, 'character')}.",
    "minProperties": lambda count: f"Must have at least {plural(count, 'name')}.",
    "minimum": lambda bound: f"Must be at least {spelled(bound)}.",
    "multipleOf": lambda step: f"Must be a multiple of {spelled(step)}.",
    "pattern": lambda pattern: f"Must fit the pattern {spelled(pattern)}",
    "type": _type,
}


def sentence(error: ValidationError) -> str:
    if error.validator in {"required", "said", "stranger"}:
        return error.message
    make = SENTENCES.get(str(error.validator))
    return make(error.validator_value) if make else "This value is not allowed here."
