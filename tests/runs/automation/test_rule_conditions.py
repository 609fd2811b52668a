"""Conditions of event rules: what they compare, and which are refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.automation import rule_conditions
from tests.refusals import refused

FACTS: dict[str, Any] = {"run": {"state": "FAILED", "seconds": 3.5, "is_late": True, "at": "2026-10-01"}, "list": [1]}
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


def condition(pointer: str, is_: str, value: Any) -> dict[str, Any]:
    return {"pointer": pointer, "is": is_, "value": value}


@pytest.mark.parametrize(
    ("pointer", "is_", "value", "holds"),
    [
        ("/run/state", "eq", "FAILED", True),
        ("/run/state", "eq", "failed", False),
        ("/run/state", "ne", "COMPLETED", True),
        ("/run/seconds", "gt", 3, True),
        ("/run/seconds", "ge", 3.5, True),
        ("/run/seconds", "lt", 3.5, False),
        ("/run/seconds", "le", 3.5, True),
        ("/run/at", "gt", "2026-09-30", True),
        ("/list/0", "eq", 1, True),
        # A true is not the number 1, a text no number, and a list has no order.
        ("/run/is_late", "eq", 1, False),
        ("/run/is_late", "ge", 1, False),
        ("/run/state", "gt", 1, False),
        ("/list", "gt", 0, False),
        # What is not there fulfils nothing.
        ("/run/nothing", "ne", "x", False),
        ("/run/nothing", "eq", None, False),
    ],
)
def test_what_a_condition_compares(pointer: str, is_: str, value: Any, holds: bool) -> None:
    (stored,) = rule_conditions.require_usable([condition(pointer, is_, value)])
    assert (rule_conditions.first_unmet([stored], FACTS) is None) is holds


@given(SCALARS, SCALARS, st.sampled_from(sorted(rule_conditions.OPERATORS)))
def test_no_value_is_an_error(found: Any, value: Any, operator: str) -> None:
    each = rule_conditions.Condition("/x", operator, value)
    assert each.holds({"x": found}) in (True, False)
    assert not each.holds({})


def test_all_conditions_must_hold() -> None:
    first, second = condition("/run/state", "eq", "FAILED"), condition("/run/seconds", "gt", 10)
    unmet = rule_conditions.first_unmet([first, second], FACTS)
    assert unmet is not None
    assert unmet.pointer == "/run/seconds"


@pytest.mark.parametrize(
    "conditions",
    [
        {"pointer": "/x"},
        ["/x"],
        [condition("/x", "like", "a")],
        [condition("x", "eq", "a")],
        [condition("", "eq", "a")],
        [condition("/x~2", "eq", "a")],
        [condition("/x", "eq", {"a": 1})],
        [condition("/x", "gt", True)],
        [condition("/x", "eq", "a\x00")],
        [condition("/x", "eq", "a" * 2000)],
        [condition("/x", "eq", "a")] * 21,
        [condition("/x", "eq", "a") | {"more": 1}],
    ],
)
def test_conditions_that_cannot_be_used_are_refused(conditions: Any) -> None:
    with refused("event_rule.condition"):
        rule_conditions.require_usable(conditions)
