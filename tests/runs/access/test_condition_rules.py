"""Conditions as simple rules: to JSON Schema and back, with the types of the parameters."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.parameters import parameter_types
from runs.access import predicates
from runs.access.condition_rules import MOST_RULES, Operator, Rule, from_condition, to_condition
from tests.cast import SCHEMA

TYPES = {"rows": frozenset({"integer"}), "region": frozenset({"string"}), "force": frozenset({"boolean"})}


@pytest.mark.parametrize(
    ("rules", "properties"),
    [
        ([("rows", "at_most", "1000")], {"rows": {"maximum": 1000}}),
        ([("rows", "at_least", "1"), ("rows", "at_most", "9")], {"rows": {"minimum": 1, "maximum": 9}}),
        ([("region", "is", "EU")], {"region": {"const": "EU"}}),
        # A text parameter takes a number as text, one of any other type does not.
        ([("region", "is", "2026")], {"region": {"const": "2026"}}),
        ([("rows", "is", "2026")], {"rows": {"const": 2026}}),
        ([("other", "is", "2026")], {"other": {"const": 2026}}),
        ([("other", "is", '"2026"')], {"other": {"const": "2026"}}),
        ([("region", "one_of", "EU, US")], {"region": {"enum": ["EU", "US"]}}),
        ([("region", "not_one_of", "EU,US")], {"region": {"not": {"enum": ["EU", "US"]}}}),
        ([("force", "is_not", "true")], {"force": {"not": {"const": True}}}),
        ([("region", "matches", "^E")], {"region": {"pattern": "^E"}}),
    ],
)
def test_rules_become_a_condition(rules: list[tuple[str, str, str]], properties: dict[str, Any]) -> None:
    found, problems = to_condition([Rule(*each) for each in rules], TYPES)
    assert (found, problems) == ({"properties": properties}, [])
    assert predicates.problems(found) == []


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        (("", "is", "EU"), "rule.parameter"),
        (("rows", "is", ""), "rule.value"),
        (("rows", "one_of", " , "), "rule.value"),
        (("rows", "about", "1"), "rule.operator"),
        (("rows", "at_most", "many"), "rule.number"),
        (("rows", "at_most", "true"), "rule.number"),
        (("rows", "at_most", "1e999"), "rule.number"),
        (("rows", "is", "many"), "rule.type"),
        (("force", "is", "1"), "rule.type"),
        (("region", "matches", "(?=x)"), "rule.pattern"),
    ],
)
def test_a_mistake_names_its_rule(rule: tuple[str, str, str], code: str) -> None:
    _, problems = to_condition([Rule("rows", "at_least", "1"), Rule(*rule)], TYPES)
    assert [(each.number, each.code) for each in problems] == [(2, code)]


def test_two_rules_of_one_kind_are_refused_and_all_mistakes_are_told() -> None:
    rules = [Rule("rows", "at_most", "1"), Rule("rows", "at_most", "2"), Rule("", "is", "x")]
    assert [(each.number, each.code) for each in to_condition(rules, TYPES)[1]] == [
        (2, "rule.twice"),
        (3, "rule.parameter"),
    ]


FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=8), FLOATS)
NODES = st.one_of(
    st.fixed_dictionaries({"const": VALUES}),
    st.fixed_dictionaries({"enum": st.lists(VALUES, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"not": st.fixed_dictionaries({"const": VALUES})}),
    st.fixed_dictionaries({"maximum": st.integers(), "minimum": st.integers()}),
)


@given(st.dictionaries(st.sampled_from(["a", "b", "c"]), NODES, min_size=1))
def test_what_can_be_said_as_rules_comes_back_unchanged(properties: dict[str, Any]) -> None:
    predicate = {"properties": properties}
    rules = from_condition(predicate)
    if rules is not None:
        assert len(rules) <= MOST_RULES
        assert to_condition(rules, {}) == (predicate, [])


@pytest.mark.parametrize(
    "predicate",
    [
        {"properties": {"rows": {"type": "integer", "maximum": 3}}},
        {"properties": {"rows": {"maximum": 3}}, "required": ["rows"]},
        {"properties": {"rows": {}}},
        {"properties": {"a": {"not": {"pattern": "x"}}}},
    ],
)
def test_what_rules_cannot_say_stays_a_schema(predicate: dict[str, Any]) -> None:
    assert from_condition(predicate) is None
    assert from_condition(None) == []
    assert from_condition({"properties": {"rows": {"maximum": 3}}}) == [Rule("rows", Operator.AT_MOST, "3")]


def test_the_types_of_parameters_are_read_without_secrets() -> None:
    assert parameter_types(SCHEMA) == {"month": frozenset({"string"}), "rows": frozenset({"integer"})}
    maybe = {"type": "object", "properties": {"a": {"anyOf": [{"type": "integer"}, {"type": "null"}]}, "b": {}}}
    assert parameter_types(maybe) == {"a": frozenset({"integer", "null"}), "b": frozenset()}
    assert parameter_types({"type": "object", "properties": {"a": {"$ref": "http://x"}}}) == {}
