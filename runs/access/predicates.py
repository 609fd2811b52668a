"""Permissions on parameter values: JSON Schemas that the values of a run must satisfy for a grant to count."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.exceptions import SchemaError
from jsonschema.validators import extend

from flows.parameters import formats

LONGEST = 10_000
DEEPEST = 12
# What a predicate may use: nothing that reads an address, and nothing whose cost grows faster than the values.
KEYWORDS = frozenset(
    [
        *("type", "properties", "required", "enum", "const", "minimum", "maximum", "exclusiveMinimum"),
        *("exclusiveMaximum", "multipleOf", "minLength", "maxLength", "pattern", "items", "minItems", "maxItems"),
        *("not", "anyOf", "allOf", "oneOf", "additionalProperties", "title", "description"),
    ]
)
# Keywords that a form can show by itself -> how people read them.
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

# Each of these speaks of one kind of value, and JSON Schema lets every other kind pass: “at most 1000” would be true of
# nothing and of "2000". Here it is not, unless a `type` beside it says that such a value is meant.
OF_KIND = {
    **dict.fromkeys(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"], "number"),
    **dict.fromkeys(["minLength", "maxLength", "pattern"], "string"),
    **dict.fromkeys(["items", "minItems", "maxItems"], "array"),
    **dict.fromkeys(["properties", "required", "additionalProperties"], "object"),
}


class Undecided(Exception):
    """Nobody can say whether a value satisfies a condition; inside a `not`, no answer at all must not become a yes."""


def _pattern(validator: Any, pattern: str, value: Any, node: Any) -> Iterator[ValidationError]:
    """By an engine that takes linear time."""
    if isinstance(value, str):
        fits = None if formats.is_too_long(pattern, value) else formats.fits(pattern, value)
        if fits is None:
            raise Undecided
        if not fits:
            yield ValidationError("pattern")


def _of_kind(kind: str, check: Check) -> Check:
    def checked(validator: Any, wanted: Any, value: Any, node: Any) -> Iterator[ValidationError]:
        if "type" not in node and not validator.is_type(value, kind):
            yield ValidationError(f"not of the kind {kind}")
        else:
            yield from check(validator, wanted, value, node) or ()

    return checked


CHECKS: dict[str, Any] = {**Draft202012Validator.VALIDATORS, "pattern": _pattern}
Checker: Any = extend(  # type: ignore[no-untyped-call]  # untyped upstream
    Draft202012Validator, {"pattern": _pattern, **{key: _of_kind(kind, CHECKS[key]) for key, kind in OF_KIND.items()}}
)


def problems(predicate: Any) -> list[str]:
    """Why this cannot be a predicate, as sentences; nothing when it can."""
    if not isinstance(predicate, dict) or not isinstance(predicate.get("properties"), dict):
        return ['Name at least one parameter, such as {"properties": {"region": {"const": "EU"}}}.']
    if len(json.dumps(predicate)) > LONGEST:
        return [f"It may have {LONGEST:,} characters."]
    try:
        Checker.check_schema(predicate)
    except (SchemaError, RecursionError) as error:
        return [f"It is not a JSON Schema: {getattr(error, 'message', 'it is nested too deeply')}."]
    return list(dict.fromkeys(_unusable(predicate, 0)))


def _unusable(node: Any, depth: int) -> Iterator[str]:
    if depth > DEEPEST:
        yield f"It may be nested {DEEPEST} levels deep."
        return
    if not isinstance(node, dict):
        return
    for keyword, value in node.items():
        if keyword not in KEYWORDS:
            yield f"{keyword} is not known here. Use {', '.join(sorted(KEYWORDS))}."
        elif keyword == "pattern" and formats.fits(value, "") is None:
            yield f"The pattern {value} cannot be judged: it looks around or back."
        elif keyword == "properties":
            for inner in value.values():
                yield from _unusable(inner, depth + 1)
        elif keyword in ("anyOf", "allOf", "oneOf"):
            for inner in value:
                yield from _unusable(inner, depth + 1)
        elif keyword in ("not", "items", "additionalProperties"):
            yield from _unusable(value, depth + 1)


def matches(predicate: Predicate, values: Mapping[str, Any]) -> bool:
    """Whether the values satisfy it. A parameter it names must be there: a default nobody knows satisfies nothing."""
    if not predicate.get("properties", {}).keys() <= values.keys():
        return False
    return _decided(predicate, values, unjudged=False)


def may_match(predicate: Predicate, values: Mapping[str, Any], parameters: Collection[str] = ()) -> bool:
    """Whether the values could satisfy it: what a prohibition goes by.

    A parameter it names may be missing from the values and yet be one of the flow's `parameters`: then the run takes
    a default that nobody here knows. What cannot be judged could be.
    """
    if not parameter_names(predicate) <= values.keys() | set(parameters):
        return False
    return _decided(predicate, values, unjudged=True)


def _decided(predicate: Predicate, values: Mapping[str, Any], *, unjudged: bool) -> bool:
    try:
        return bool(Checker(predicate).is_valid(dict(values)))
    except (Undecided, ArithmeticError):
        # Dividing a number of hundreds of digits is one more thing that nobody can judge.
        return unjudged


def both(first: Predicate | None, second: Predicate | None) -> dict[str, Any] | None:
    """A predicate that is satisfied where both are; None stands for no condition."""
    if not first or not second or first == second:
        return dict(first or second or {}) or None
    return {
        "properties": {name: {} for name in parameter_names(first) | parameter_names(second)},
        "allOf": [dict(first), dict(second)],
    }


def parameter_names(predicate: Predicate) -> set[str]:
    return set(predicate.get("properties", {}))


def describe(predicate: Predicate) -> str:
    """What it asks for, such as “region is EU or US, rows is at most 1000”."""
    return ", ".join(_describe(predicate))


def _describe(predicate: Predicate) -> Iterator[str]:
    for name, node in predicate.get("properties", {}).items():
        said = [_choice(node), *(text.format(node[key]) for key, text in BOUNDS.items() if key in node)]
        said = [text for text in said if text]
        plain = {"enum", "const", "type", "title", "description", *BOUNDS}
        if said and set(node) <= plain:
            yield f"{name} is {' and '.join(said)}"
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
    return " or ".join(each if isinstance(each, str) else json.dumps(each) for each in choices)


def narrowed(schema: Mapping[str, Any], predicates: Sequence[Predicate]) -> dict[str, Any]:
    """A parameter schema that offers only what at least one of the predicates allows, as far as a form can show it.

    For display only: `matches` decides whether values are allowed, over all of them at once.
    """
    shown = deepcopy(dict(schema))
    nodes = shown.get("properties", {})
    for name in set.intersection(*(set(_conditions(each)) for each in predicates)) & nodes.keys() if predicates else ():
        node, conditions = nodes[name], [_conditions(each)[name] for each in predicates]
        if node.get("writeOnly") or node.get("format") == "password":
            continue  # what is offered is shown, and a secret is not
        choices = [_choices(each, node) for each in conditions]
        if all(each is not None for each in choices):
            offered = [value for each in choices if each for value in each]
            if not offered:
                continue  # an input without a choice would only puzzle; the verb says what is wrong
            kept = {key: node[key] for key in ("title", "description", "position", "default") if key in node}
            nodes[name] = kept | {"enum": list({json.dumps(value): value for value in offered}.values())}
        elif node.get("type") in ("integer", "number"):
            for key, loosest, tightest in (("minimum", min, max), ("maximum", max, min)):
                if all(key in each for each in conditions):
                    bound = loosest(each[key] for each in conditions)
                    node[key] = tightest(bound, node.get(key, bound))
    return shown


def opposite(predicate: Predicate) -> dict[str, Any] | None:
    """What is left when one parameter may not have certain values; None for anything less simple."""
    conditions = predicate.get("properties", {})
    if len(conditions) != 1 or set(predicate) - {"properties", "required", "type", "title", "description"}:
        return None
    ((name, node),) = conditions.items()
    if len(node) != 1 or not {"const", "enum"} & set(node):
        return None
    return {"properties": {name: {"not": node}}}


def _conditions(predicate: Predicate) -> dict[str, dict[str, Any]]:
    """What is asked of each parameter, with the conditions of an `allOf` put together where that is simple."""
    found: dict[str, dict[str, Any]] = {}
    for part in (predicate, *(each for each in predicate.get("allOf", ()) if isinstance(each, dict))):
        for name, node in part.get("properties", {}).items():
            if isinstance(node, dict) and node:
                found.setdefault(name, {}).update(node)
    return found


def _choices(condition: Mapping[str, Any], node: Mapping[str, Any]) -> list[Any] | None:
    """The values that are left to choose from, or None where anything may be typed."""
    if "const" in condition:
        found = [condition["const"]]
    elif "enum" in condition or "enum" in node:
        found = list(condition.get("enum", node.get("enum")))
    elif node.get("type") == "boolean" and "not" in condition:
        found = [True, False]
    else:
        return None
    # Of which the flow takes those that it knows, and the condition those that fit it.
    known = {json.dumps(value) for value in node.get("enum", found)}
    return [value for value in found if json.dumps(value) in known and Checker(condition).is_valid(value)]
