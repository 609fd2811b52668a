"""Conditions on parameter values: what they allow, and that they cannot be bypassed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from runs.access import predicates
from runs.access.predicates import both, describe, matches, may_match, narrowed, problems

EU = {"properties": {"region": {"const": "EU"}}}
FEW = {"properties": {"rows": {"maximum": 1000}}}

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, 1.0, "", "EU", "EU-west", "US", "1", "x" * 50])
)
BOUNDS = st.fixed_dictionaries(
    {},
    optional={
        "minimum": st.integers(-3, 3),
        "exclusiveMaximum": st.integers(-3, 3),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "minLength": st.integers(0, 3),
        "maxLength": st.integers(0, 3),
        "pattern": st.sampled_from(["^EU", "x+$", "^$"]),
        "type": st.sampled_from(["string", "integer", "null", ["integer", "null"]]),
        "enum": st.lists(SCALARS, min_size=1, max_size=3),
        "const": SCALARS,
    },
)
NODES = st.recursive(
    BOUNDS,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"items": inner}),
    ),
    max_leaves=4,
)
NAMES = ["region", "rows", "force"]
PREDICATES = st.fixed_dictionaries(
    {"properties": st.dictionaries(st.sampled_from(NAMES), NODES, min_size=1, max_size=2)},
    optional={"additionalProperties": st.booleans()},
)
VALUES = st.dictionaries(
    st.sampled_from([*NAMES, "month"]), st.one_of(SCALARS, st.lists(SCALARS, max_size=2)), max_size=4
)


@pytest.mark.parametrize(
    ("predicate", "values", "is_met"),
    [
        (EU, {"region": "EU"}, True),
        (EU, {"region": "US"}, False),
        (EU, {"region": "eu"}, False),
        (EU, {"region": "EU "}, False),
        (EU, {"region": ["EU"]}, False),
        (EU, {}, False),
        (FEW, {"rows": 1000}, True),
        (FEW, {"rows": 1000.5}, False),
        (FEW, {"rows": None}, False),
        (FEW, {"rows": "2000"}, False),
        (FEW, {"rows": True}, False),
        ({"properties": {"rows": {"type": ["integer", "null"], "maximum": 1000}}}, {"rows": None}, True),
        ({"properties": {"region": {"pattern": "^EU"}}}, {"region": None}, False),
        ({"properties": {"region": {"pattern": "^EU"}}}, {"region": ["EU"]}, False),
        ({"properties": {"region": {"minLength": 1}}}, {"region": 5}, False),
        ({"properties": {"rows": {"items": {"maximum": 5}}}}, {"rows": 7}, False),
        ({"properties": {"rows": {"items": {"maximum": 5}}}}, {"rows": [4, 5]}, True),
        ({"properties": {"rows": {"properties": {"a": {"const": 1}}}}}, {"rows": None}, False),
        ({"properties": {"force": {"const": True}}}, {"force": 1}, False),
        ({"properties": {"force": {"not": {"const": True}}}}, {"force": False}, True),
        ({"properties": {"force": {"not": {"const": True}}}}, {}, False),
        ({"properties": {"month": {}}, "not": {"required": ["force"]}}, {"month": 1}, True),
        ({"properties": {"month": {}}, "not": {"required": ["force"]}}, {"month": 1, "force": False}, False),
        ({"properties": {"region": {}}, "anyOf": [EU, FEW]}, {"region": "US", "rows": 5}, True),
    ],
)
def test_what_a_condition_lets_pass(predicate: dict[str, Any], values: dict[str, Any], is_met: bool) -> None:
    assert problems(predicate) == []
    assert matches(predicate, values) is is_met


@pytest.mark.parametrize("node", [{"pattern": "(a*){500}b"}, {"not": {"pattern": "(a*){500}b"}}])
def test_a_text_too_long_to_be_judged_neither_opens_a_door_nor_escapes_a_prohibition(node: dict[str, Any]) -> None:
    predicate, values = {"properties": {"name": node}}, {"name": "a" * 400_000}
    assert not matches(predicate, values)
    assert may_match(predicate, values)


@pytest.mark.parametrize("number", [10**400, -(10**400)])
def test_a_number_too_large_to_be_divided_neither_opens_a_door_nor_escapes_a_prohibition(number: int) -> None:
    predicate = {"properties": {"rows": {"multipleOf": 0.5}}}
    assert not matches(predicate, {"rows": number})
    assert may_match(predicate, {"rows": number})


def test_a_default_that_nobody_knows_satisfies_nothing_and_may_be_prohibited() -> None:
    """The flow has the parameter, the run gives no value for it: what it will be is the flow's secret."""
    never = {"properties": {"force": {"const": True}}}
    assert not matches(never, {"month": "2026-10"})
    assert may_match(never, {"month": "2026-10"}, ["month", "force"])
    assert not may_match(never, {"month": "2026-10"}, ["month"])
    assert not may_match(never, {"month": "2026-10", "force": False}, ["month", "force"])


@hypothesis_settings(max_examples=120, deadline=None)
@given(first=PREDICATES, second=PREDICATES, values=VALUES)
def test_both_is_satisfied_exactly_where_each_is(
    first: dict[str, Any], second: dict[str, Any], values: dict[str, Any]
) -> None:
    narrower = both(first, second)
    assert narrower is not None
    assert problems(narrower) == []
    assert matches(narrower, values) is (matches(first, values) and matches(second, values))


@hypothesis_settings(max_examples=120, deadline=None)
@given(predicate=PREDICATES, values=VALUES, parameters=st.lists(st.sampled_from(NAMES)))
def test_what_is_satisfied_could_be_satisfied(
    predicate: dict[str, Any], values: dict[str, Any], parameters: list[str]
) -> None:
    if matches(predicate, values):
        assert may_match(predicate, values, parameters)


@hypothesis_settings(max_examples=120, deadline=None)
@given(predicate=PREDICATES, values=VALUES)
def test_a_closer_condition_on_one_value_never_lets_more_pass(
    predicate: dict[str, Any], values: dict[str, Any]
) -> None:
    name, node = next(iter(predicate["properties"].items()))
    closer = {**predicate, "properties": {**predicate["properties"], name: {"allOf": [node, {"enum": ["EU", 1]}]}}}
    if matches(closer, values):
        assert matches(predicate, values)


@hypothesis_settings(max_examples=60, deadline=None)
@given(given=st.lists(PREDICATES, max_size=3))
def test_every_condition_can_be_read_and_shown_in_a_form(given: list[dict[str, Any]]) -> None:
    schema = {"properties": {"region": {"type": "string"}, "rows": {"type": "integer", "minimum": 1}, "force": {}}}
    before = repr(schema)
    assert set(narrowed(schema, given)["properties"]) == set(NAMES)
    assert repr(schema) == before
    for predicate in given:
        assert isinstance(describe(predicate), str)


@pytest.mark.parametrize(
    ("predicate", "words"),
    [
        ({"properties": {"region": {"enum": ["EU", "US"]}, "rows": {"maximum": 5}}}, "region is EU or US, rows is at"),
        ({"properties": {"force": {"not": {"const": True}}}}, "force is not true"),
        ({"properties": {"region": {"pattern": "^EU"}}}, "region is like ^EU"),
        (both(EU, FEW), "region is EU, rows is at most 1000"),
    ],
)
def test_a_condition_is_read_in_words(predicate: dict[str, Any], words: str) -> None:
    assert describe(predicate).startswith(words)


@pytest.mark.parametrize(
    ("predicate", "named"),
    [
        (None, '{"properties": {'),
        ([], '{"properties": {'),
        ({"const": {}}, '{"properties": {'),
        ({"properties": {"a": {"$ref": "http://169.254.169.254/"}}}, "$ref "),
        ({"properties": {"a": {"$dynamicRef": "#x"}}}, "$dynamicRef "),
        ({"properties": {"a": {"if": {}, "then": {}}}}, "if "),
        ({"properties": {"a": {"format": "date"}}}, "format "),
        ({"properties": {"a": {"pattern": "(?=x)"}}}, "(?=x)"),
        ({"properties": {"a": {"maximum": "ten"}}}, "'ten'"),
        ({"properties": {"a": {"enum": ["x" * 20_000]}}}, "10,000 "),
    ],
)
def test_a_condition_that_cannot_be_used_is_refused_with_a_sentence(predicate: Any, named: str) -> None:
    sentence, *_ = problems(predicate)
    assert named in sentence


def test_a_condition_nested_too_deeply_is_refused() -> None:
    node: dict[str, Any] = {}
    for _ in range(predicates.DEEPEST + 1):
        node = {"not": node}
    (sentence,) = problems({"properties": {"a": node}})
    assert f" {predicates.DEEPEST} " in sentence
