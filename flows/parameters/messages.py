"""The message and the code for each keyword that a value does not satisfy. No message repeats the value."""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jsonschema.exceptions import ValidationError

from flows.parameters.formats import FORMAT_SENTENCES
from flows.wording import plain_number, plural

KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "empty",
    "number": "a number",
    "object": "an object",
    "string": "text",
}
MOST_CHOICES_LISTED = 20  # choices in one message


def one_of(words: list[str]) -> str:
    """Join words as "a, b or c"."""
    *others, last = words or ["something else"]
    return f"{', '.join(others)} or {last}" if others else last


def spelled(value: Any) -> str:
    """Return a value of the schema for a message, shortened to 60 characters."""
    text = value if isinstance(value, str) and value else json.dumps(plain_number(value))
    return text if len(text) <= 60 else text[:59] + "…"


def choice_labels(values: Sequence[Any]) -> list[str]:
    """Return what each choice is called: as JSON where the plain words would also stand for another choice."""
    plain = [spelled(value) for value in values]
    seen = Counter(plain)
    # Browsers show a line break as a space and drop outer spaces; quotation marks would look like those of JSON.
    is_clear = [seen[text] == 1 and text == " ".join(text.split()) and not text.startswith('"') for text in plain]
    return [
        text if clear else json.dumps(value, ensure_ascii=False)
        for text, clear, value in zip(plain, is_clear, values, strict=True)
    ]


def example_of(node: Mapping[str, Any]) -> str:
    """Return the first example of a text parameter, "" if there is none."""
    # The shape of `examples` is not checked with the schema: a bad annotation must not make a deployment unusable.
    examples = node.get("examples")
    return next((each for each in examples if isinstance(each, str)), "") if isinstance(examples, list) else ""


def _type(kinds: str | list[str]) -> str:
    kinds = [kinds] if isinstance(kinds, str) else kinds
    # "or empty" is left out: an optional parameter says so beside its input.
    named = [kind for kind in kinds if kind != "null"] or ["null"]
    return f"Must be {one_of([KINDS.get(kind, kind) for kind in named])}."


def _enum(choices: list[Any]) -> str:
    listed = ", ".join(choice_labels(choices[:MOST_CHOICES_LISTED]))
    return f"Must be one of: {listed}{' and others' if len(choices) > MOST_CHOICES_LISTED else ''}."


# JSON Schema keyword -> the code of its error, and its message built from the keyword's value in the schema.
KEYWORDS: dict[str, tuple[str, Callable[[Any], str]]] = {
    "const": ("parameter.const", lambda only: f"Must be {spelled(only)}."),
    "contains": ("parameter.contains", lambda inner: "A required item is missing."),
    "dependentRequired": ("parameter.dependent", lambda names: "A value that must accompany this one is missing."),
    "enum": ("parameter.enum", _enum),
    "exclusiveMaximum": ("parameter.maximum", lambda bound: f"Must be less than {spelled(bound)}."),
    "exclusiveMinimum": ("parameter.minimum", lambda bound: f"Must be greater than {spelled(bound)}."),
    "format": ("parameter.format", lambda name: FORMAT_SENTENCES.get(name, f"Must be in the format {name}.")),
    "maxItems": ("parameter.max_items", lambda count: f"Must have at most {plural(count, 'item')}."),
    "maxLength": ("parameter.max_length", lambda count: f"Must have at most {plural(count, 'character')}."),
    "maxProperties": ("parameter.max_properties", lambda count: f"Must have at most {plural(count, 'key')}."),
    "maximum": ("parameter.maximum", lambda bound: f"Must be at most {spelled(bound)}."),
    "minItems": ("parameter.min_items", lambda count: f"Must have at least {plural(count, 'item')}."),
    "minLength": ("parameter.min_length", lambda count: f"Must have at least {plural(count, 'character')}."),
    "minProperties": ("parameter.min_properties", lambda count: f"Must have at least {plural(count, 'key')}."),
    "minimum": ("parameter.minimum", lambda bound: f"Must be at least {spelled(bound)}."),
    "multipleOf": ("parameter.multiple_of", lambda step: f"Must be a multiple of {spelled(step)}."),
    "pattern": ("parameter.pattern", lambda pattern: f"Must match the pattern {spelled(pattern)}"),
    "type": ("parameter.type", _type),
}
# code -> what it means; docs/errors.md is generated from this table.
CODES: dict[str, str] = {
    "parameter.ambiguous": "The value matches more than one of the allowed forms.",
    "parameter.const": "The value differs from the only one allowed.",
    "parameter.contains": "The list lacks an item that it must contain.",
    "parameter.dependent": "A value that must accompany this one is missing.",
    "parameter.duplicate": "The items of the list are not all different.",
    "parameter.empty": "The field is empty, and the parameter has no empty value.",
    "parameter.enum": "The value is not one of the choices.",
    "parameter.format": "The text is not in the required format.",
    "parameter.json": "The input is not valid JSON.",
    "parameter.mask": "The dots of a hidden secret were sent as its value.",
    "parameter.max_items": "The list is too long.",
    "parameter.max_length": "The text is too long.",
    "parameter.max_properties": "The object has too many keys.",
    "parameter.maximum": "The number is too large.",
    "parameter.min_items": "The list is too short.",
    "parameter.min_length": "The text is too short.",
    "parameter.min_properties": "The object has too few keys.",
    "parameter.minimum": "The number is too small.",
    "parameter.multiple_of": "The number is not a multiple of the required step.",
    "parameter.name": "A key of the object is not allowed.",
    "parameter.not_allowed": "The schema does not allow the value.",
    "parameter.not_finite": "The number is infinite or not a number.",
    "parameter.not_json": "The value has no JSON form.",
    "parameter.not_offered": "The flow publishes the values that its data has as the only ones, and this is none.",
    "parameter.not_storable": "The text has a character that Postgres cannot store.",
    "parameter.pattern": "The text does not match the pattern.",
    "parameter.prefect_kind": "The object has the key __prefect_kind, which Prefect would act on.",
    "parameter.reference": "The object has the key $ref, for which Prefect would load a block.",
    "parameter.required": "A required value is missing.",
    "parameter.schema": "The deployment's schema cannot be used.",
    "parameter.too_deep": "The value is nested too deeply.",
    "parameter.too_large": "The parameters are larger than Prefect accepts.",
    "parameter.too_many_bits": "The whole number has more than 64 bits, or is below the smallest of 64 bits.",
    "parameter.type": "The value has the wrong type.",
    "parameter.unknown": "The deployment has no such parameter, or the object no such key.",
}


def code_and_sentence(error: ValidationError) -> tuple[str, str]:
    """Return code and message. Errors made by `flows.parameters.validation` itself have their code as keyword."""
    keyword = str(error.validator)
    if keyword in CODES:
        return keyword, error.message
    # jsonschema's own message quotes the value, so an unknown keyword gets a message without details.
    if keyword not in KEYWORDS:
        return "parameter.not_allowed", "This value is not allowed here."
    code, make = KEYWORDS[keyword]
    return code, make(error.validator_value)
