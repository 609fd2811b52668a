"""Judges values by their schema: jsonschema reads, but the keywords that could hang, fetch or mumble are ours."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import islice
from math import isfinite
from time import thread_time
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend
from referencing import Registry

from flows import canonical
from flows.parameters import formats
from flows.parameters.messages import code_and_sentence
from flows.parameters.schema import Node, Path, Schema, Unusable
from flows.parameters.walk import types_of

# Of work, not by the clock: a busy host does not make values wrong.
SECONDS = 5.0
ENOUGH = 50

UNKNOWN = "Unknown parameter: Prefect would accept it and the run would crash."

type Errors = Iterator[ValidationError]
type Keyword = Callable[[Any, Any, Any, Node], Iterable[ValidationError] | None]


@dataclass(frozen=True)
class Context:
    """What the keywords need to know and jsonschema does not hand them."""

    schema: Schema
    deadline: float
    judges: dict[int, Any] = field(default_factory=dict)


_case: ContextVar[Context] = ContextVar("case")


def _error(code: str, message: str, *path: str | int) -> ValidationError:
    """An error with a message of our own, which names values of the schema, never those that were given."""
    return ValidationError(message, validator=code, path=path)


def _descend(validator: Any, value: Any, node: Node, *path: str | int) -> Errors:
    """The errors of one value by one part of the schema; everything that can multiply the work passes through here."""
    case = _case.get()
    if thread_time() > case.deadline:
        raise Unusable("slow", seconds=SECONDS)
    judge = case.judges.get(id(node))
    if judge is None:  # kept, because making one costs more than most of its verdicts
        judge = case.judges[id(node)] = validator.evolve(schema=node)
    for error in judge.iter_errors(value):
        error.path.extendleft(path)
        yield error


def _ref(validator: Any, ref: str, value: Any, node: Node) -> Errors:
    yield from _descend(validator, value, _case.get().schema.at[ref])


def _required(validator: Any, names: list[str], value: Any, node: Node) -> Errors:
    if isinstance(value, dict):
        for name in names:
            if name not in value or (value[name] == "" and _wants_text(node.get("properties", {}).get(name, {}))):
                yield _error("parameter.required", "This value is required.", name)


def _wants_text(node: Node) -> bool:
    """Whether "" is no value here: a text is asked for, and "" is not among its choices."""
    nodes = _case.get().schema.applying([node])
    offered = [choice for one in nodes for choice in (*one.get("enum", ()), one.get("const"))]
    return "" not in offered and any("string" in types_of(one) for one in nodes)


def _known_names(node: Node) -> set[str]:
    """The names of an object, those of the parts it is composed of included."""
    schema, names, waiting = _case.get().schema, set[str](), [node]
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
    return any((found := _find(pattern, name)) or found is None for pattern in node.get("patternProperties", {}))


def _find(pattern: str, text: str) -> bool | None:
    return None if formats.is_too_long(pattern, text) else formats.fits(pattern, text)


def _properties(validator: Any, properties: dict[str, Node], value: Any, node: Node) -> Errors:
    if not isinstance(value, dict):
        return
    for name, inner in properties.items():
        if name in value:
            yield from _descend(validator, value[name], inner, name)
    # Pydantic leaves additionalProperties out and then drops such names in silence: a typo would pass unseen.
    if "additionalProperties" not in node:
        known = _known_names(node)
        for name in value:
            if name not in known and not _has_pattern(name, node):
                yield _unknown(name, node, "Unknown key: the flow would ignore it.")


def _unknown(name: str, node: Node, words: str) -> ValidationError:
    return _error("parameter.unknown", UNKNOWN if node is _case.get().schema.root else words, name)


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
                if _find(pattern, name):
                    yield from _descend(validator, value[name], inner, name)
        if "properties" not in node:
            yield from _properties(validator, {}, value, node)


def _property_names(validator: Any, inner: Node, value: Any, node: Node) -> Errors:
    if isinstance(value, dict):
        for name in value:
            if any(_descend(validator, name, inner)):
                yield _error("parameter.name", "This key is not allowed here.", name)


def _pattern(validator: Any, pattern: str, value: Any, node: Node) -> Errors:
    if not isinstance(value, str):
        return
    if formats.is_too_long(pattern, value):
        yield _error("parameter.max_length", "Too long to check against its pattern.")
    elif formats.fits(pattern, value) is False:
        # One that this engine does not have is left to Prefect and the flow.
        yield ValidationError("", validator="pattern", validator_value=pattern)


def _multiple_of(validator: Any, step: float, value: Any, node: Node) -> Errors:
    # By decimal spelling: 0.3 is a multiple of 0.1, though not in binary.
    if validator.is_type(value, "number") and isfinite(value) and Fraction(repr(value)) % Fraction(repr(step)):
        yield ValidationError("", validator="multipleOf", validator_value=step)


def _unique_items(validator: Any, wanted: bool, value: Any, node: Node) -> Errors:
    if wanted and isinstance(value, list):
        first: dict[str, int] = {}
        for index, item in enumerate(value):
            # jsonschema compares unsortable items pair by pair, which takes minutes for a long list.
            if (other := first.setdefault(canonical.text(item), index)) != index:
                yield _error("parameter.duplicate", f"Duplicate of item {other + 1}; items must be unique.", index)


def _items(validator: Any, inner: Node, value: Any, node: Node) -> Errors:
    if isinstance(value, list):
        for index in range(len(node.get("prefixItems", ())), len(value)):
            yield from _descend(validator, value[index], inner, index)


def _all_of(validator: Any, parts: list[Node], value: Any, node: Node) -> Errors:
    known = _known_names(node)
    for part in parts:
        for error in _descend(validator, value, part):
            if not (error.validator == "parameter.unknown" and len(error.path) == 1 and error.path[0] in known):
                yield error


def _any_of(validator: Any, branches: list[Node], value: Any, node: Node) -> Errors:
    failures = []
    for branch in branches:
        errors = list(islice(_descend(validator, value, branch), ENOUGH))
        if not errors:
            return
        failures.append(errors)
    yield from _closest(failures)


def _one_of(validator: Any, branches: list[Node], value: Any, node: Node) -> Errors:
    marker = node.get("discriminator", {})
    if marker and isinstance(value, dict):
        yield from _marked(validator, marker, branches, value)
        return
    failures = [list(islice(_descend(validator, value, branch), ENOUGH)) for branch in branches]
    fitting = failures.count([])
    if fitting > 1:
        yield _error("parameter.ambiguous", "Matches more than one of the allowed forms.")
    elif not fitting:
        yield from _closest(failures)


def _marked(validator: Any, marker: Node, branches: list[Node], value: dict[str, Any]) -> Errors:
    """A union that says by one of its names which form it is: pydantic wants that name even where it has a default."""
    name = marker["propertyName"]
    mapping = marker.get("mapping")
    forms: dict[str, str] = mapping if isinstance(mapping, dict) else {}
    if name not in value:
        yield _error("parameter.required", "This value is required: it selects the variant.", name)
    elif not forms:
        yield from _any_of(validator, branches, value, {})
    elif (ref := str(forms.get(str(value[name])))) in _case.get().schema.at:
        yield from _ref(validator, ref, value, {})
    else:
        yield ValidationError("", validator="enum", validator_value=list(forms), path=[name])


def _closest(failures: list[list[ValidationError]]) -> list[ValidationError]:
    """The errors of the form that the value was most likely meant to have."""
    heard = [errors for errors in failures if not any(error.validator == "type" and not error.path for error in errors)]
    if heard:
        return min(heard, key=lambda errors: (any(map(_marks_another, errors)), len(errors)))
    kinds = [kind for errors in failures for error in errors if not error.path for kind in _kinds(error)]
    return [ValidationError("", validator="type", validator_value=list(dict.fromkeys(kinds)))]


def _kinds(error: ValidationError) -> list[str]:
    return types_of({"type": error.validator_value}) if error.validator == "type" else []


def _marks_another(error: ValidationError) -> bool:
    return len(error.path) == 1 and error.validator in {"const", "enum"}


OURS: Mapping[str, Keyword] = {
    "$ref": _ref,
    "additionalProperties": _additional_properties,
    "allOf": _all_of,
    "anyOf": _any_of,
    "items": _items,
    "multipleOf": _multiple_of,
    "oneOf": _one_of,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "properties": _properties,
    "propertyNames": _property_names,
    "required": _required,
    "uniqueItems": _unique_items,
}
_checker = FormatChecker(formats=())
for _name, _check in formats.FORMATS.items():
    _checker.checks(_name)(lambda value, check=_check: not isinstance(value, str) or check(value))

Validator: Any = extend(  # type: ignore[no-untyped-call]  # the stubs leave it open
    Draft202012Validator,
    OURS,
    format_checker=_checker,
)


def find_errors(schema: Schema, values: dict[str, Any], *, limit: int) -> list[tuple[Path, str, str]]:
    """Up to `limit` errors: path, code, sentence."""
    token = _case.set(Context(schema, thread_time() + SECONDS))
    try:
        # An empty registry: nothing a schema says makes us read a file or an address.
        errors = list(
            islice(Validator(schema.root, registry=Registry(), format_checker=_checker).iter_errors(values), limit)
        )
    except RecursionError:
        raise Unusable("recursion") from None
    finally:
        _case.reset(token)
    missing = {tuple(error.absolute_path) for error in errors if error.validator == "parameter.required"}
    found = [
        (tuple(error.absolute_path), *code_and_sentence(error))
        for error in errors
        if error.validator == "parameter.required" or tuple(error.absolute_path) not in missing
    ]
    return list(dict.fromkeys(found))
