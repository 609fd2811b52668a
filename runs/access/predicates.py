"""Conditions of grants on parameter values: JSON Schemas that the values of a run must satisfy."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend

from flows.parameters import formats
from flows.wording import plain_number

LONGEST = 10_000
DEEPEST = 12
# Supported keywords. Left out: those that load a URL ($ref), and those whose cost grows faster than the values.
KEYWORDS = frozenset(
    [
        *("type", "properties", "required", "enum", "const", "minimum", "maximum", "exclusiveMinimum"),
        *("exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "items", "minItems", "maxItems"),
        *("not", "anyOf", "allOf", "oneOf", "additionalProperties", "title", "description"),
    ]
)
# Keyword that a form can enforce by itself -> how it is worded.
BOUNDS = {
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "{} characters or more",
    "maxLength": "{} characters or fewer",
    "pattern": "like {}",
}
Predicate = Mapping[str, Any]
Check = Callable[[Any, Any, Any, Any], Any]

# Each of these constrains one type, and JSON Schema lets every other type pass: `maximum: 1000` accepts null and
# "2000", which would be a way around the grant. Here other types fail, unless the condition names a `type` itself.
OF_KIND = {
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"], "number"),
    **dict.fromkeys(["minLength", "maxLength", "pattern"], "string"),
    **dict.fromkeys(["items", "minItems", "maxItems"], "array"),
    **dict.fromkeys(["properties", "required", "additionalProperties"], "object"),
}


class Undecided(Exception):
    """It cannot be decided whether a value satisfies a condition.

    An exception and not `False`: inside a `not`, `False` would turn into “satisfied”.
    """


def _pattern(validator: Any, pattern: str, value: Any, node: Any) -> Iterator[ValidationError]:
    """Match with the linear-time engine of `formats`: Python's `re` can hang on a hostile pattern."""
    if isinstance(value, str):
        fits = None if formats.is_too_long(pattern, value) else formats.fits(pattern, value)
        if fits is None:
            raise Undecided
        if not fits:
            yield ValidationError("pattern")


def _of_kind(kind: str, check: Check) -> Check:
    def checked(validator: Any, wanted: Any, value: Any, node: Any) -> Iterator[ValidationError]:
        if "type" not in node and not validator.is_type(value, kind):
            yield ValidationError(f"not of type {kind}")
        else:
            yield from check(validator, wanted, value, node) or ()

    return checked


CHECKS: dict[str, Any] = {**Draft202012Validator.VALIDATORS, "pattern": _pattern}
Checker: Any = extend(  # type: ignore[no-untyped-call]  # untyped upstream
    Draft202012Validator, {"pattern": _pattern, **{key: _of_kind(kind, CHECKS[key]) for key, kind in OF_KIND.items()}}
)


def problems(predicate: Any) -> list[str]:
    """Return why this cannot be a condition, as sentences; empty when it can."""
    if not isinstance(predicate, dict) or not isinstance(predicate.get("properties"), dict):
        return ['Name at least one parameter, for example {"properties": {"region": {"const": "EU"}}}.']
    if len(json.dumps(predicate)) > LONGEST:
        return [f"A condition can have at most {LONGEST:,} characters."]
    try:
        Checker.check_schema(predicate)
    except (SchemaError, RecursionError) as error:
        return [f"Not a valid JSON Schema: {getattr(error, 'message', 'nested too deeply')}."]
    return list(dict.fromkeys(_unusable(predicate, 0)))


def _unusable(node: Any, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        yield f"A condition can be nested at most {DEEPEST} levels deep."
        return
    if not isinstance(node, dict):
        return
    for keyword, value in node.items():
        if keyword not in KEYWORDS:
            yield f"{keyword} is not supported. Use {', '.join(sorted(KEYWORDS))}."
        elif keyword == "pattern" and formats.fits(value, "") is None:
            yield f"The pattern {value} is not supported: look-around and backreferences are not allowed."
        elif keyword == "properties":
            for inner in value.values():
                yield from _unusable(inner, depth + 1)
        elif keyword in ("anyOf", "allOf", "oneOf"):
            for inner in value:
                yield from _unusable(inner, depth + 1)
        elif keyword in ("not", "items", "additionalProperties"):
            yield from _unusable(value, depth + 1)


def matches(predicate: Predicate, values: Mapping[str, Any]) -> bool:
    """Return whether the values satisfy the condition: for grants, so in doubt False.

    A parameter that it names must have a value: a default that only the flow's code knows satisfies nothing.
    """
    if not predicate.get("properties", {}).keys() <= values.keys():
        return False
    return _decided(predicate, values, if_undecided=False)


def may_match(predicate: Predicate, values: Mapping[str, Any], parameters: Collection[str] = ()) -> bool:
    """Return whether the values could satisfy the condition: for denials, so in doubt True.

    A parameter that it names may have no value and yet be one of the flow's `parameters`: the run then uses a default
    that is not known here, and that could be the denied value.
    """
    if not parameter_names(predicate) <= values.keys() | set(parameters):
        return False
    return _decided(predicate, values, if_undecided=True)


def _decided(predicate: Predicate, values: Mapping[str, Any], *, if_undecided: bool) -> bool:
    try:
        return bool(Checker(predicate).is_valid(dict(values)))
    except (Undecided, ArithmeticError):
        # `multipleOf` with a number of hundreds of digits raises ArithmeticError.
        return if_undecided


def both(first: Predicate | None, second: Predicate | None) -> dict[str, Any] | None:
    """Return the condition that is satisfied when both are; None means no condition."""
    if not first or not second or first == second:
        return dict(first or second or {}) or None
    return {
        # Repeated here, because `matches` requires a value for each of the top-level properties.
        "properties": {name: {} for name in parameter_names(first) | parameter_names(second)},
        "allOf": [dict(first), dict(second)],
    }


def parameter_names(predicate: Predicate) -> set[str]:
    return set(predicate.get("properties", {}))


def describe(predicate: Predicate) -> str:
    """Return the condition in words, such as “region is EU or US, rows is at most 1000”."""
    return ", ".join(_describe(predicate))


def _describe(predicate: Predicate) -> Iterator[str]:
    for name, node in predicate.get("properties", {}).items():
        words = [_choice(node), *(text.format(plain_number(node[key])) for key, text in BOUNDS.items() if key in node)]
        words = [text for text in words if text]
        plain = {"enum", "const", "type", "title", "description", *BOUNDS}
        # Words only where they say all of it; otherwise the JSON, so that nothing is left out.
        if words and set(node) <= plain:
            yield f"{name} is {' and '.join(words)}"
        elif isinstance(node.get("not"), dict) and set(node) <= {"not", "type"} and _choice(node["not"]):
            yield f"{name} is not {_choice(node['not'])}"
        elif node:
            yield f"{name} satisfies {json.dumps(node, ensure_ascii=False)}"
    for inner in predicate.get("allOf", ()):
        yield from _describe(inner)
    rest = {key: value for key, value in predicate.items() if key in ("anyOf", "oneOf", "not", "additionalProperties")}
    if rest:
        yield f"all together satisfy {json.dumps(rest, ensure_ascii=False)}"


def _choice(node: Mapping[str, Any]) -> str:
    choices = [node["const"]] if "const" in node else node.get("enum", [])
    return " or ".join(each if isinstance(each, str) else json.dumps(plain_number(each)) for each in choices)


def narrowed(schema: Mapping[str, Any], predicates: Sequence[Predicate]) -> dict[str, Any]:
    """Return the parameter schema with only the choices that at least one condition allows, as far as a form can show.

    For display only: `matches` decides, on all values together.
    """
    shown = deepcopy(dict(schema))
    nodes = shown.get("properties", {})
    # A parameter that one of the conditions does not name can have any value, so only those that all name are narrowed.
    for name in set.intersection(*(set(_conditions(each)) for each in predicates)) & nodes.keys() if predicates else ():
        node, conditions = nodes[name], [_conditions(each)[name] for each in predicates]
        if node.get("writeOnly") or node.get("format") == "password":
            continue  # choices would show the secret
        choices = [_choices(each, node) for each in conditions]
        if all(each is not None for each in choices):
            offered = [value for each in choices if each for value in each]
            if not offered:
                continue  # no select without options; the refusal on submit says what is wrong
            kept = {key: node[key] for key in ("title", "description", "position", "default") if key in node}
            nodes[name] = kept | {"enum": list({json.dumps(value): value for value in offered}.values())}
        elif node.get("type") in ("integer", "number"):
            for key, loosest, tightest in (("minimum", min, max), ("maximum", max, min)):
                if all(key in each for each in conditions):
                    # One condition is enough, so the loosest of them; the schema itself always applies.
                    bound = loosest(each[key] for each in conditions)
                    node[key] = tightest(bound, node.get(key, bound))
    return shown


def opposite(predicate: Predicate) -> dict[str, Any] | None:
    """Return the condition that excludes the values of a simple one; None when it is not simple.

    Simple: one parameter, with `const` or `enum` alone.
    """
    conditions = predicate.get("properties", {})
    if len(conditions) != 1 or set(predicate) - {"properties", "required", "type", "title", "description"}:
        return None
    ((name, node),) = conditions.items()
    if len(node) != 1 or not {"const", "enum"} & set(node):
        return None
    return {"properties": {name: {"not": node}}}


def _conditions(predicate: Predicate) -> dict[str, dict[str, Any]]:
    """Return parameter -> its condition, with those of `allOf` merged in."""
    found: dict[str, dict[str, Any]] = {}
    for part in (predicate, *(each for each in predicate.get("allOf", ()) if isinstance(each, dict))):
        for name, node in part.get("properties", {}).items():
            if isinstance(node, dict) and node:
                found.setdefault(name, {}).update(node)
    return found


def _choices(condition: Mapping[str, Any], node: Mapping[str, Any]) -> list[Any] | None:
    """Return the values to choose from, or None when any value can be typed."""
    if "const" in condition:
        found = [condition["const"]]
    elif "enum" in condition or "enum" in node:
        found = list(condition.get("enum", node.get("enum")))
    elif node.get("type") == "boolean" and "not" in condition:
        found = [True, False]
    else:
        return None
    # The schema's own enum still applies, and the condition may have more keywords than the one that gave the choices.
    known = {json.dumps(value) for value in node.get("enum", found)}
    return [value for value in found if json.dumps(value) in known and Checker(condition).is_valid(value)]
