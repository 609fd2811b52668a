"""Conditions on parameter values as simple rules, such as “rows is at most 1000”, to JSON Schema and back."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite
from typing import Any

from flows.parameters import formats

MOST_RULES = 6
# JSON types by parameter; an empty set where any type fits.
Types = Mapping[str, frozenset[str]]


# Means "no such value", because None is one.
NOTHING: Any = object()


class Operator(StrEnum):
    IS = "is"
    IS_NOT = "is_not"
    ONE_OF = "one_of"
    NOT_ONE_OF = "not_one_of"
    AT_MOST = "at_most"
    AT_LEAST = "at_least"
    MATCHES = "matches"


LABELS: dict[Operator, str] = {
    Operator.IS: "is",
    Operator.IS_NOT: "is not",
    Operator.ONE_OF: "is one of",
    Operator.NOT_ONE_OF: "is not one of",
    Operator.AT_MOST: "is at most",
    Operator.AT_LEAST: "is at least",
    Operator.MATCHES: "matches",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule as it is typed."""

    parameter: str
    operator: str
    value: str


class Unreadable(ValueError):
    """A rule cannot be read. `number` says which, from 1; `code` what is wrong; `str()` is a sentence."""

    def __init__(self, number: int, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.number, self.code = number, code


def to_condition(rules: Sequence[Rule], types: Types) -> tuple[dict[str, Any] | None, list[Unreadable]]:
    """Return the JSON Schema that is satisfied when all rules are, and the rules that cannot be read.

    The schema is None for no rule.
    """
    properties: dict[str, dict[str, Any]] = {}
    problems: list[Unreadable] = []
    for number, rule in enumerate(rules, start=1):
        try:
            found = keyword_of(number, rule, types.get(rule.parameter, frozenset()))
            node = properties.setdefault(rule.parameter, {})
            if node.keys() & found.keys():
                raise Unreadable(number, "rule.twice", f"{rule.parameter} has a rule of this kind already.")
            node |= found
        except Unreadable as problem:
            problems.append(problem)
    return ({"properties": properties} if properties else None), problems


def keyword_of(number: int, rule: Rule, types: frozenset[str]) -> dict[str, Any]:
    """Return the keywords of one rule; raises `Unreadable`."""
    if not rule.parameter:
        raise Unreadable(number, "rule.parameter", "Choose a parameter.")
    if rule.operator not in list(Operator):
        raise Unreadable(number, "rule.operator", "Choose what the value is compared by.")
    text = rule.value.strip()
    # An empty text is a value only where it is written as one: "".
    if not text:
        raise Unreadable(number, "rule.value", "Enter a value.")
    operator = Operator(rule.operator)
    if operator in (Operator.AT_MOST, Operator.AT_LEAST):
        return {"maximum" if operator == Operator.AT_MOST else "minimum": number_of(number, text)}
    if operator == Operator.MATCHES:
        if formats.fits(text, "") is None:
            sentence = f"The pattern {text} is not supported: look-around and backreferences are not allowed."
            raise Unreadable(number, "rule.pattern", sentence)
        return {"pattern": text}
    if operator in (Operator.ONE_OF, Operator.NOT_ONE_OF):
        values = [value_of(number, each.strip(), types) for each in text.split(",") if each.strip()]
        if not values:
            raise Unreadable(number, "rule.value", "Enter values, with a comma between them.")
        found: dict[str, Any] = {"enum": values}
    else:
        found = {"const": value_of(number, text, types)}
    return {"not": found} if operator in (Operator.IS_NOT, Operator.NOT_ONE_OF) else found


def number_of(number: int, text: str) -> int | float:
    found = read_json(text)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise Unreadable(number, "rule.number", f"“{text}” is not a number.")
    return found


def value_of(number: int, text: str, types: frozenset[str]) -> Any:
    """Return the value that a text means for a parameter of these types; raises `Unreadable`."""
    found = read_json(text)
    # A quoted text is always one; everything that is not JSON is a text without quotes.
    if isinstance(found, str) or not types:
        return text if found is NOTHING else found
    fitting = [kind for kind, is_kind in KINDS.items() if kind in types and found is not NOTHING and is_kind(found)]
    if fitting:
        return found
    # 2026 for a parameter of type string is the text "2026".
    if "string" in types:
        return text
    raise Unreadable(number, "rule.type", f"“{text}” is not of type {' or '.join(sorted(types))}.")


KINDS: dict[str, Callable[[Any], bool]] = {
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "null": lambda value: value is None,
}


def read_json(text: str) -> Any:
    """Return a number, a truth value, null or a quoted text; `NOTHING` for every other text."""
    try:
        found = json.loads(text, parse_constant=lambda name: NOTHING)
    except (ValueError, RecursionError):
        return NOTHING
    # 1e999 is read as infinite, which JSON cannot store.
    is_infinite = isinstance(found, float) and not isfinite(found)
    return NOTHING if isinstance(found, dict | list) or is_infinite else found


def from_condition(predicate: Mapping[str, Any] | None) -> list[Rule] | None:
    """Return a condition as rules; None for one that rules cannot say."""
    if not predicate:
        return []
    if predicate.keys() != {"properties"}:
        return None
    found: list[Rule] = []
    for parameter, node in predicate["properties"].items():
        rules = list(rules_of(parameter, node))
        if not node or None in rules:
            return None
        found += [rule for rule in rules if rule]
    # Only what comes back as the same condition.
    is_same = len(found) <= MOST_RULES and to_condition(found, {}) == (dict(predicate), [])
    return found if is_same else None


def rules_of(parameter: str, node: Mapping[str, Any]) -> Iterable[Rule | None]:
    for keyword, value in node.items():
        if keyword in ("maximum", "minimum"):
            yield Rule(parameter, Operator.AT_MOST if keyword == "maximum" else Operator.AT_LEAST, spell(value))
        elif keyword == "pattern":
            yield Rule(parameter, Operator.MATCHES, value)
        elif keyword == "const":
            yield Rule(parameter, Operator.IS, spell(value))
        elif keyword == "enum":
            yield Rule(parameter, Operator.ONE_OF, ", ".join(map(spell, value)))
        elif keyword == "not" and isinstance(value, dict) and value.keys() == {"const"}:
            yield Rule(parameter, Operator.IS_NOT, spell(value["const"]))
        elif keyword == "not" and isinstance(value, dict) and value.keys() == {"enum"}:
            yield Rule(parameter, Operator.NOT_ONE_OF, ", ".join(map(spell, value["enum"])))
        else:
            yield None


def spell(value: Any) -> str:
    """Return a value as it is typed: a text without quotes, unless it would be read as something else."""
    is_plain = isinstance(value, str) and read_json(value) is NOTHING and value == value.strip() and "," not in value
    return value if is_plain and value else json.dumps(value, ensure_ascii=False)
