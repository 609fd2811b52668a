"""Keywords that concern one value, without the values in it: types, patterns, multiples, repetitions."""

from collections.abc import Iterator
from fractions import Fraction
from math import isfinite
from typing import Any

from jsonschema.exceptions import ValidationError

from flows import canonical
from flows.parameters import formats
from flows.parameters.messages import example_of, spelled
from flows.parameters.schema import Node
from flows.parameters.walk import types_of

type Errors = Iterator[ValidationError]


def make_error(code: str, message: str, *path: str | int) -> ValidationError:
    """Build an error with its own message, which may quote the schema, never the value."""
    return ValidationError(message, validator=code, path=path)


def find_pattern(pattern: str, text: str) -> bool | None:
    return None if formats.is_too_long(pattern, text) else formats.fits(pattern, text)


def check_pattern(validator: Any, pattern: str, value: Any, node: Node) -> Errors:
    if not isinstance(value, str):
        return
    if formats.is_too_long(pattern, value):
        yield make_error("parameter.max_length", "Too long to check against its pattern.")
    elif formats.fits(pattern, value) is False:
        # A pattern that this engine does not support is left to Prefect and the flow.
        example = example_of(node)
        # Through `find_pattern`, because a schema may combine a costly pattern with a long example.
        if example and find_pattern(pattern, example):
            yield make_error("parameter.pattern", f"Must look like {spelled(example)} (pattern {spelled(pattern)}).")
        else:
            yield ValidationError("", validator="pattern", validator_value=pattern)


def check_multiple(validator: Any, step: float, value: Any, node: Node) -> Errors:
    # In decimals: 0.3 is a multiple of 0.1, though not in binary.
    if validator.is_type(value, "number") and isfinite(value) and Fraction(repr(value)) % Fraction(repr(step)):
        yield ValidationError("", validator="multipleOf", validator_value=step)


def check_type(validator: Any, kinds: str | list[str], value: Any, node: Node) -> Errors:
    if any(validator.is_type(value, kind) for kind in types_of(node)):
        return
    if isinstance(value, float) and value.is_integer() and "integer" in types_of(node):
        yield make_error("parameter.type", "Must be a whole number written in digits, without a point or an exponent.")
    else:
        yield ValidationError("", validator="type", validator_value=kinds)


def is_integer(checker: Any, value: Any) -> bool:
    """Return whether the flow can read the value as a whole number: pydantic refuses floats of 64 bits and more."""
    if isinstance(value, float):
        return value.is_integer() and abs(value) < 2**63
    return isinstance(value, int) and not isinstance(value, bool)


def check_unique(validator: Any, wanted: bool, value: Any, node: Node) -> Errors:
    if wanted and isinstance(value, list):
        first: dict[str, int] = {}
        for index, item in enumerate(value):
            # jsonschema compares unsortable items pairwise, which takes minutes for a long list.
            if (other := first.setdefault(canonical.text(item), index)) != index:
                yield make_error("parameter.duplicate", f"Duplicate of item {other + 1}; items must be unique.", index)
