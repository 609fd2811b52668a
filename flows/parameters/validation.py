"""Validation by jsonschema, with keywords replaced that could hang, load a URL or give an unclear message."""

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from itertools import islice
from time import thread_time
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from flows.parameters import formats
from flows.parameters.messages import code_and_sentence
from flows.parameters.scalar_keywords import (
    Errors,
    check_multiple,
    check_pattern,
    check_type,
    check_unique,
    find_pattern,
    is_integer,
    make_error,
)
from flows.parameters.schema import Node, Path, Schema, Unusable
from flows.parameters.walk import types_of

# CPU seconds of this thread, not wall time: a busy host must not make values invalid.
SECONDS = 5.0
# Errors collected from one variant of a union: enough to choose the closest variant.
ENOUGH = 50

UNKNOWN = "Unknown parameter: Prefect would accept it and the run would crash."

type Keyword = Callable[[Any, Any, Any, Node], Iterable[ValidationError] | None]


@dataclass(frozen=True)
class Context:
    """What the keyword functions need and jsonschema does not pass to them."""

    schema: Schema
    deadline: float
    validators: dict[int, Any] = field(default_factory=dict)


_context: ContextVar[Context] = ContextVar("context")


def _descend(validator: Any, value: Any, node: Node, *path: str | int) -> Errors:
    """Yield the errors of one value under one node. All recursion passes through here, so the deadline holds."""
    context = _context.get()
    if thread_time() > context.deadline:
        raise Unusable("slow", seconds=SECONDS)
    child = context.validators.get(id(node))
    if child is None:  # cached: creating a validator costs more than most checks
        child = context.validators[id(node)] = validator.evolve(schema=node)
    for error in child.iter_errors(value):
        error.path.extendleft(path)
        yield error


def _ref(validator: Any, ref: str, value: Any, node: Node) -> Errors:
    yield from _descend(validator, value, _context.get().schema.at[ref])


def _required(validator: Any, names: list[str], value: Any, node: Node) -> Errors:
    if isinstance(value, dict):
        for name in names:
            # An empty text is a value: a form, where nothing typed looks the same, decides which of the two it is.
            if name not in value:
                yield make_error("parameter.required", "This value is required.", name)


def _known_names(node: Node) -> set[str]:
    """Return the property names of an object, including those of the parts it is composed of."""
    schema, names, waiting = _context.get().schema, set[str](), [node]
    seen: set[int] = set()
    while waiting:
        one = waiting.pop()
        if id(one) not in seen:
            seen.add(id(one))
            names |= one.get("properties", {}).keys()
            waiting += one.get("allOf", ())
            waiting += [schema.at[one["$ref"]]] if "$ref" in one else []
    return names


def _has_pattern(name: str, node: Node) -> bool:
    # A pattern that cannot be checked is taken to match: a valid key must not be refused.
    return any((found := find_pattern(pattern, name)) or found is None for pattern in node.get("patternProperties", {}))


def _properties(validator: Any, properties: dict[str, Node], value: Any, node: Node) -> Errors:
    if not isinstance(value, dict):
        return
    for name, inner in properties.items():
        if name in value:
            yield from _descend(validator, value[name], inner, name)
    # Pydantic omits additionalProperties and silently drops unknown keys: a typo would go unnoticed.
    if "additionalProperties" not in node:
        known = _known_names(node)
        for name in value:
            if name not in known and not _has_pattern(name, node):
                yield _unknown(name, node, "Unknown key: the flow would ignore it.")


def _unknown(name: str, node: Node, words: str) -> ValidationError:
    return make_error("parameter.unknown", UNKNOWN if node is _context.get().schema.root else words, name)


def _additional_properties(validator: Any, more: Node | bool, value: Any, node: Node) -> Errors:
    if not isinstance(value, dict) or more is True:
        return
    for name in value:
        if name in node.get("properties", {}) or _has_pattern(name, node):
            continue
        if more is False:
            yield _unknown(name, node, "Unknown key: the flow does not accept it.")
        else:
            yield from _descend(validator, value[name], more, name)


def _pattern_properties(validator: Any, patterns: dict[str, Node], value: Any, node: Node) -> Errors:
    if isinstance(value, dict):
        for pattern, inner in patterns.items():
            for name in value:
                if find_pattern(pattern, name):
                    yield from _descend(validator, value[name], inner, name)
        if "properties" not in node:
            yield from _properties(validator, {}, value, node)


def _property_names(validator: Any, inner: Node, value: Any, node: Node) -> Errors:
    if isinstance(value, dict):
        for name in value:
            if any(_descend(validator, name, inner)):
                yield make_error("parameter.name", "This key is not allowed here.", name)


def _content_media_type(validator: Any, media: str, value: Any, node: Node) -> Errors:
    # Only whether it is JSON: pydantic converts the values in it, "5" to 5, so their types are left to the flow.
    if media == "application/json" and isinstance(value, str) and not formats.is_json(value):
        yield make_error("parameter.format", "Must be JSON, as text.")


def _items(validator: Any, inner: Node, value: Any, node: Node) -> Errors:
    if isinstance(value, list):
        for index in range(len(node.get("prefixItems", ())), len(value)):
            yield from _descend(validator, value[index], inner, index)


def _all_of(validator: Any, parts: list[Node], value: Any, node: Node) -> Errors:
    # Each part sees the whole object, so to one part the keys of the others are unknown: those errors are dropped.
    known = _known_names(node)
    for part in parts:
        for error in _descend(validator, value, part):
            if not (error.validator == "parameter.unknown" and len(error.path) == 1 and error.path[0] in known):
                yield error


def _any_of(validator: Any, branches: list[Node], value: Any, node: Node) -> Errors:
    # jsonschema would report "not valid under any of the given schemas", with the value in it.
    failures = []
    for branch in branches:
        errors = list(islice(_descend(validator, value, branch), ENOUGH))
        if not errors:
            return
        failures.append(errors)
    yield from _closest(failures)


def _one_of(validator: Any, branches: list[Node], value: Any, node: Node) -> Errors:
    discriminator = node.get("discriminator", {})
    if discriminator and isinstance(value, dict):
        yield from _discriminated(validator, discriminator, branches, value)
        return
    failures = [list(islice(_descend(validator, value, branch), ENOUGH)) for branch in branches]
    fitting = failures.count([])
    if fitting > 1:
        yield make_error("parameter.ambiguous", "Matches more than one of the allowed forms.")
    elif not fitting:
        yield from _closest(failures)


def _discriminated(validator: Any, discriminator: Node, branches: list[Node], value: dict[str, Any]) -> Errors:
    """Check a union with a discriminator. pydantic requires the discriminating key even if it has a default."""
    name = discriminator["propertyName"]
    mapping = discriminator.get("mapping")
    forms: dict[str, str] = mapping if isinstance(mapping, dict) else {}
    if name not in value:
        yield make_error("parameter.required", "This value is required: it selects the variant.", name)
    elif not forms:
        yield from _any_of(validator, branches, value, {})
    elif (ref := str(forms.get(str(value[name])))) in _context.get().schema.at:
        yield from _ref(validator, ref, value, {})
    else:
        yield ValidationError("", validator="enum", validator_value=list(forms), path=[name])


def _closest(failures: list[list[ValidationError]]) -> list[ValidationError]:
    """Return the errors of the variant that the value was most likely meant to be."""
    # 1. Variants of the value's own type, preferring those whose constants match, then those with the fewest errors.
    right_type = [
        errors for errors in failures if not any(error.validator == "type" and not error.path for error in errors)
    ]
    if right_type:
        return min(right_type, key=lambda errors: (any(map(_is_other_variant, errors)), len(errors)))
    # 2. None has its type: report all types that are allowed.
    kinds = [kind for errors in failures for error in errors if not error.path for kind in _kinds(error)]
    return [ValidationError("", validator="type", validator_value=list(dict.fromkeys(kinds)))]


def _kinds(error: ValidationError) -> list[str]:
    return types_of({"type": error.validator_value}) if error.validator == "type" else []


def _is_other_variant(error: ValidationError) -> bool:
    return len(error.path) == 1 and error.validator in {"const", "enum"}


KEYWORD_FUNCTIONS: Mapping[str, Keyword] = {
    "$ref": _ref,
    "additionalProperties": _additional_properties,
    "allOf": _all_of,
    "anyOf": _any_of,
    "contentMediaType": _content_media_type,
    "items": _items,
    "multipleOf": check_multiple,
    "oneOf": _one_of,
    "pattern": check_pattern,
    "patternProperties": _pattern_properties,
    "properties": _properties,
    "propertyNames": _property_names,
    "required": _required,
    "type": check_type,
    "uniqueItems": check_unique,
}
# jsonschema's own format checks depend on which packages are installed; only these count.
_checker = FormatChecker(formats=())
for _name, _check in formats.FORMATS.items():
    _checker.checks(_name)(lambda value, check=_check: not isinstance(value, str) or check(value))

Validator: Any = extend(  # type: ignore[no-untyped-call]  # the stubs leave it open
    Draft202012Validator,
    KEYWORD_FUNCTIONS,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", is_integer),
    format_checker=_checker,
)


def find_errors(schema: Schema, values: dict[str, Any], *, limit: int) -> list[tuple[Path, str, str]]:
    """Return up to `limit` errors as path, code, message. Raises `Unusable` if the schema takes too long."""
    # 1. Validate. The context variable serves concurrent requests: each thread and task has its own.
    token = _context.set(Context(schema, thread_time() + SECONDS))
    try:
        # An empty registry: no schema can make the portal load a file or a URL.
        errors = list(
            islice(Validator(schema.root, registry=Registry(), format_checker=_checker).iter_errors(values), limit)
        )
    except RecursionError:
        raise Unusable("recursion") from None
    finally:
        _context.reset(token)
    # 2. A missing value gets that one error: others about it, such as its length, would be noise.
    missing = {tuple(error.absolute_path) for error in errors if error.validator == "parameter.required"}
    found = [
        (tuple(error.absolute_path), *code_and_sentence(error))
        for error in errors
        if error.validator == "parameter.required" or tuple(error.absolute_path) not in missing
    ]
    return list(dict.fromkeys(found))
