"""The JSON Schema keywords that the portal supports, and the shape that each must have."""

from collections.abc import Callable
from math import isfinite


def _is_anything(value: object) -> bool:
    return True


def _is_number(value: object) -> bool:
    # To Python True is an int; to JSON it is no number.
    return (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and isfinite(value))


def _is_count(value: object) -> bool:
    # 5.0 is a whole number in JSON Schema.
    return isinstance(value, int | float) and _is_number(value) and value >= 0 and value == int(value)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_flag(value: object) -> bool:
    return isinstance(value, bool)


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _is_step(value: object) -> bool:
    return isinstance(value, int | float) and _is_number(value) and value > 0


def _is_discriminator(value: object) -> bool:
    return isinstance(value, dict) and isinstance(value.get("propertyName"), str)


COUNTS = (
    *("maxContains", "maxItems", "maxLength", "maxProperties"),
    *("minContains", "minItems", "minLength", "minProperties"),
)
# Every supported keyword and its shape. All others are annotations and are dropped, `$schema` and `$id` among them:
# they would make jsonschema switch to another validator, or resolve references in another document.
SHAPES: dict[str, Callable[[object], bool]] = {
    "$ref": _is_text,
    "additionalProperties": _is_anything,
    "allOf": _is_list,
    "anyOf": _is_list,
    "block_type_slug": _is_text,
    "const": _is_anything,
    "contains": _is_anything,
    "contentMediaType": _is_text,
    "default": _is_anything,
    "dependentRequired": lambda value: isinstance(value, dict) and all(map(_is_names, value.values())),
    "dependentSchemas": lambda value: isinstance(value, dict),
    "description": _is_anything,
    "discriminator": _is_discriminator,
    "else": _is_anything,
    "enum": _is_list,
    "examples": _is_anything,
    "exclusiveMaximum": _is_number,
    "exclusiveMinimum": _is_number,
    "format": _is_text,
    "if": _is_anything,
    "items": _is_anything,
    "maximum": _is_number,
    "minimum": _is_number,
    "multipleOf": _is_step,
    "not": _is_anything,
    "oneOf": _is_list,
    "pattern": _is_text,
    "patternProperties": lambda value: isinstance(value, dict),
    "position": _is_number,
    "prefixItems": _is_list,
    "properties": lambda value: isinstance(value, dict),
    "propertyNames": _is_anything,
    "required": _is_names,
    "then": _is_anything,
    "title": _is_anything,
    "type": lambda value: _is_text(value) or _is_names(value),
    "uniqueItems": _is_flag,
    "writeOnly": _is_flag,
    **dict.fromkeys(COUNTS, _is_count),
}
# Keywords that restrict values in ways the form and the validation do not follow: a schema with one is refused.
UNSUPPORTED = ("$dynamicRef", "$recursiveRef", "unevaluatedItems", "unevaluatedProperties")
TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})
