"""The conditions of an event rule: comparisons of what is at a JSON pointer with a value. Pure: no database."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flows import canonical
from runs.automation.value_mapping import MISSING, is_pointer, is_storable, resolve
from runs.errors import Refused

MOST_CONDITIONS = 20
LONGEST_VALUE = 1000


def is_same(found: Any, value: Any) -> bool:
    return bool(canonical.same(found, value))


def compared(order: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Return a comparison that holds only between two numbers, or between two texts, which compare as ISO dates do."""

    def compare(found: Any, value: Any) -> bool:
        return kind_of(found) == kind_of(value) != "" and order(found, value)

    return compare


def kind_of(value: Any) -> str:
    """Return “number” or “text”; empty for what has no order. A JSON true is not the number 1."""
    if isinstance(value, bool):
        return ""
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else ""


# How a condition is written -> how a page shows it, and when it holds. Nothing at the pointer fulfils none of them.
OPERATORS: dict[str, tuple[str, Callable[[Any, Any], bool]]] = {
    "eq": ("=", is_same),
    "ne": ("≠", lambda found, value: not is_same(found, value)),
    "gt": (">", compared(lambda found, value: found > value)),
    "ge": ("≥", compared(lambda found, value: found >= value)),
    "lt": ("<", compared(lambda found, value: found < value)),
    "le": ("≤", compared(lambda found, value: found <= value)),
}


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison; `is_` is a key of `OPERATORS`."""

    pointer: str
    is_: str
    value: Any

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Condition:
        return cls(stored["pointer"], stored["is"], stored["value"])

    def __str__(self) -> str:
        return f"{self.pointer} {OPERATORS[self.is_][0]} {json.dumps(self.value, ensure_ascii=False)}"

    def holds(self, facts: Mapping[str, Any]) -> bool:
        found = resolve(facts, self.pointer)
        return found is not MISSING and OPERATORS[self.is_][1](found, self.value)


def require_usable(conditions: Any) -> list[dict[str, Any]]:
    """Return conditions that are some: a list of `pointer`, `is` and `value`; raises `Refused`."""
    if not isinstance(conditions, list) or len(conditions) > MOST_CONDITIONS:
        raise Refused("event_rule.condition", f"Give at most {MOST_CONDITIONS} conditions, as a list.")
    for each in conditions:
        if not isinstance(each, dict) or each.keys() != {"pointer", "is", "value"} or each["is"] not in OPERATORS:
            raise Refused(
                "event_rule.condition",
                'Write a condition as {"pointer": "/run/state", "is": "eq", "value": "FAILED"}, with one of '
                f"{', '.join(OPERATORS)}.",
            )
        if not is_pointer(each["pointer"]) or not each["pointer"]:
            raise Refused("event_rule.condition", "Begin the pointer of each condition with “/”, such as /run/state.")
        value = each["value"]
        is_short = len(json.dumps(value)) <= LONGEST_VALUE
        if isinstance(value, dict | list) or not is_short or not is_storable(value):
            raise Refused(
                "event_rule.condition", f"Compare {each['pointer']} with one number, text, true, false or null."
            )
        if each["is"] not in ("eq", "ne") and not kind_of(value):
            raise Refused("event_rule.condition", f"Compare {each['pointer']} with a number or a text.")
    found: list[dict[str, Any]] = conditions
    return found


def first_unmet(conditions: Sequence[Mapping[str, Any]], facts: Mapping[str, Any]) -> Condition | None:
    """Return the first of the stored conditions that the facts do not fulfil; None if they fulfil all."""
    return next((each for each in map(Condition.of, conditions) if not each.holds(facts)), None)


def found_text(condition: Condition, facts: Mapping[str, Any]) -> str:
    """Return what is at the pointer of a condition, for people."""
    found = resolve(facts, condition.pointer)
    if found is MISSING:
        return "nothing"
    text = json.dumps(found, ensure_ascii=False)
    return text if len(text) <= 100 else f"{text[:99]}…"
