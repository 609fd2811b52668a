"""Values are validated by their schema, and by what Prefect and Postgres would do with them."""

import contextlib
import json
import time
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from flows.parameters import (
    MASK,
    Invalid,
    fingerprint,
    join,
    mask,
    runnable_as_is,
    schema_checks,
    split,
    validate,
    validation,
)
from flows.parameters.schema import Unusable, prepare
from flows.prefect_api.payload import check_payload
from flows.prefect_api.records import Rejected

SCHEMAS = Path(__file__).parent / "schemas"
EVERY_KIND: dict[str, Any] = json.loads((SCHEMAS / "every_kind.json").read_text())
BLOCKS: dict[str, Any] = json.loads((SCHEMAS / "blocks.json").read_text())
PYDANTIC_1: dict[str, Any] = json.loads((SCHEMAS / "pydantic_1.json").read_text())

BLOCK_ID = "123e4567-e89b-12d3-a456-426614174000"


def schema(*, required: tuple[str, ...] = (), definitions: Any = None, **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "definitions": definitions or {},
    }


def only(name: str) -> dict[str, Any]:
    """The schema of one parameter of the flow that has every kind."""
    return {**schema(value=EVERY_KIND["properties"][name]), "definitions": EVERY_KIND["definitions"]}


def refusals(of: Any, values: dict[str, Any], defaults: dict[str, Any] | None = None) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        validate(of, values, defaults=defaults or {})
    return {error.field: error.code for error in caught.value.errors}


def sentences(of: Any, values: dict[str, Any]) -> list[str]:
    with pytest.raises(Invalid) as caught:
        validate(of, values, defaults={})
    return [error.message for error in caught.value.errors]


def unusable(of: Any) -> str:
    with pytest.raises(Unusable) as caught:
        prepare(of)
    return caught.value.reason


def refusal(of: Any, values: dict[str, Any], defaults: dict[str, Any] | None = None) -> str:
    (code,) = refusals(of, values, defaults).values()
    return code


# What the run would get


def test_values_come_before_the_deployments_defaults_and_those_before_the_flows() -> None:
    three = schema(a={"type": "integer", "default": 1}, b={"type": "integer", "default": 1}, c={"default": 1})
    assert validate(three, {"a": 3}, defaults={"a": 2, "b": 2}) == {"a": 3, "b": 2, "c": 1}


def test_values_stand_in_the_order_of_the_signature() -> None:
    two = schema(later={"position": 1}, first={"position": 0})
    assert list(validate(two, {"later": 1, "first": 2}, defaults={})) == ["first", "later"]


def test_what_was_resolved_once_resolves_to_itself() -> None:
    values = validate(only("db"), {"value": {"host": "h"}}, defaults={})
    assert validate(only("db"), values, defaults={}) == values


def test_nested_defaults_are_left_to_the_flow() -> None:
    assert validate(only("db"), {"value": {"host": "h"}}, defaults={}) == {"value": {"host": "h"}}


def test_a_default_that_its_own_type_refuses_is_left_to_the_flow() -> None:
    assert validate(only("none_int"), {}, defaults={}) == {}


@pytest.mark.parametrize("name", ["secdef", "dbdef"])
def test_a_default_with_a_starred_secret_is_left_to_the_flow(name: str) -> None:
    assert validate(only(name), {}, defaults={}) == {}


@pytest.mark.parametrize(
    "node",
    [{"title": "kwargs", "position": 1}, {"anyOf": [{"type": "object"}, {"type": "null"}]}],
    ids=["untyped", "dict or None"],
)
def test_keyword_arguments_are_an_object_and_empty_if_none_are_given(node: dict[str, Any]) -> None:
    """`**kwargs` in the flow: null or a number in its place crashes the run."""
    flow = schema(kwargs=node, x={"type": "integer", "default": 1}, required=("kwargs",))
    assert validate(flow, {}, defaults={}) == {"kwargs": {}, "x": 1}
    assert validate(flow, {"kwargs": {"a": 1}}, defaults={})["kwargs"] == {"a": 1}
    for value in (None, 5, "a", []):
        assert refusals(flow, {"kwargs": value}) == {"kwargs": "parameter.type"}
    assert runnable_as_is(flow, {})


def test_a_parameter_that_is_only_called_so_keeps_its_type() -> None:
    text = schema(kwargs={"type": "string"}, required=("kwargs",))
    assert validate(text, {"kwargs": "a"}, defaults={}) == {"kwargs": "a"}
    assert refusal(text, {}) == "parameter.required"
    optional = schema(kwargs={"anyOf": [{"type": "object"}, {"type": "null"}], "default": None})
    assert validate(optional, {"kwargs": None}, defaults={}) == {"kwargs": None}


def test_null_is_a_default_like_others() -> None:
    optional = schema(a={"anyOf": [{"type": "string"}, {"type": "null"}], "default": None})
    assert validate(optional, {}, defaults={}) == {"a": None}


def test_what_comes_back_shares_nothing_with_what_was_given() -> None:
    given: dict[str, Any] = {"value": ["a"]}
    validate(only("ls"), given, defaults={})["value"].append("b")  # type: ignore[union-attr]
    assert given == {"value": ["a"]}


def test_an_error_in_a_deployments_own_default_is_refused() -> None:
    assert refusal(only("i"), {}, {"value": "x"}) == "parameter.type"


def test_a_deployment_is_runnable_as_it_is_when_nothing_is_missing() -> None:
    needs_one = schema(a={"type": "string"}, required=("a",))
    assert not runnable_as_is(needs_one, {})
    assert runnable_as_is(needs_one, {"a": ""})
    assert not runnable_as_is(needs_one, {"a": "x", "gone": 1})
    assert runnable_as_is(needs_one, {"a": "x"})


# What is refused


def test_more_values_than_can_be_checked_are_refused() -> None:
    assert refusal(only("anyv"), {"value": list(range(60_000))}) == "parameter.too_large"
    validate(only("anyv"), {"value": list(range(40_000))}, defaults={})


def test_all_errors_come_at_once_in_the_order_of_the_signature() -> None:
    found = refusals(EVERY_KIND, {"i": "x", "nope": 1, "lm": [{"host": "h", "port": 0}, {}], "tree": {"name": 1}})
    assert len(found) > 40
    assert found["i"] == "parameter.type"
    assert found["nope"] == "parameter.unknown"
    assert found["lm[0].port"] == "parameter.minimum"
    assert found["lm[1].host"] == "parameter.required"
    assert found["tree.name"] == "parameter.type"
    names = [name for name in found if name in EVERY_KIND["properties"]]
    assert names == sorted(names, key=lambda name: EVERY_KIND["properties"][name]["position"])


@pytest.mark.parametrize(
    ("name", "value", "code", "detail"),
    [
        ("s", 5, "parameter.type", "text"),
        ("i", 1.5, "parameter.type", "whole number"),
        ("i", True, "parameter.type", "whole number"),
        ("fl", "x", "parameter.type", "number"),
        ("b", 1, "parameter.type", "true or false"),
        ("d", "31.1.2026", "parameter.format", "2026-01-31"),
        ("colour", "blue", "parameter.enum", "red, green"),
        ("num", 3, "parameter.enum", "1, 2"),
        ("lit", "c", "parameter.enum", "a, b"),
        ("oi", "x", "parameter.type", "whole number"),
        ("ob", 0, "parameter.type", "true or false"),
        ("u", [], "parameter.type", "whole number or text"),
        ("ls", "a", "parameter.type", "list"),
        ("dsi", [], "parameter.type", "object"),
        ("bi", 0, "parameter.minimum", "1"),
        ("bi", 12, "parameter.maximum", "10"),
        ("bi", 3, "parameter.multiple_of", "2"),
        ("gi", 0, "parameter.minimum", "0"),
        ("gi", 5, "parameter.maximum", "5"),
        ("pat", "a", "parameter.min_length", "2"),
        ("pat", "abcdef", "parameter.max_length", "5"),
        ("pat", "A1", "parameter.pattern", "^[a-z]+$"),
        ("cl", [], "parameter.min_items", "1"),
        ("cl", [1, 2, 3, 4], "parameter.max_items", "3"),
        ("tup", [1], "parameter.min_items", "2"),
        ("uid", "7", "parameter.format", "123e4567-e89b-12d3-a456-426614174000"),
    ],
)
def test_each_refusal_has_a_code_and_names_what_is_allowed(name: str, value: Any, code: str, detail: str) -> None:
    assert refusal(only(name), {"value": value}) == code
    (message,) = sentences(only(name), {"value": value})
    assert detail in message


@pytest.mark.parametrize(
    ("name", "value", "where", "code"),
    [
        ("st", ["a", "b", "a"], "value[2]", "parameter.duplicate"),
        ("tup", ["x", "y"], "value[0]", "parameter.type"),
        ("dsi", {"a": "x"}, "value.a", "parameter.type"),
        ("db", {"host": "h", "prot": 1}, "value.prot", "parameter.unknown"),
        ("dpat", {"y": 1}, "value.y", "parameter.unknown"),
        ("odb", {"host": 1}, "value.host", "parameter.type"),
        ("u2", {"kind": "dog"}, "value.bark", "parameter.required"),
        ("u2", {"kind": "cat", "lives": "x"}, "value.lives", "parameter.type"),
        ("du", {"kind": "dog"}, "value.bark", "parameter.required"),
        ("du", {"bark": "w"}, "value.kind", "parameter.required"),
        ("du", {"kind": "cow"}, "value.kind", "parameter.enum"),
        ("tree", {"name": "a", "children": [{"children": [], "name": 1}]}, "value.children[0].name", "parameter.type"),
    ],
)
def test_a_refusal_names_the_place(name: str, value: Any, where: str, code: str) -> None:
    assert refusals(only(name), {"value": value}) == {where: code}


def test_a_multiple_is_counted_in_decimals() -> None:
    tenths = schema(a={"type": "number", "multipleOf": 0.1})
    assert validate(tenths, {"a": 0.3}, defaults={}) == {"a": 0.3}
    assert refusal(tenths, {"a": 0.35}) == "parameter.multiple_of"


def test_choices_that_look_alike_are_told_apart() -> None:
    (message,) = sentences(schema(a={"enum": [1, "1", "a", "b\nc", None, ""]}), {"a": "x"})
    assert message == 'Must be one of: 1, "1", a, "b\\nc", null, "".'


def test_no_refusal_repeats_a_value() -> None:
    word = "hunter2-hunter2"
    values = dict.fromkeys(EVERY_KIND["properties"], word) | {"nope": word}
    assert word not in " ".join(sentences(EVERY_KIND, values))


def test_an_empty_text_is_a_value_unless_its_length_says_otherwise() -> None:
    prefix = schema(a={"type": "string"}, required=("a",))
    assert validate(prefix, {"a": ""}, defaults={}) == {"a": ""}
    assert validate(prefix, {}, defaults={"a": ""}) == {"a": ""}
    nested = {**only("db"), "required": ["value"]}
    assert validate(nested, {"value": {"host": ""}}, defaults={}) == {"value": {"host": ""}}
    assert refusal(schema(a={"type": "string", "minLength": 1}, required=("a",)), {"a": ""}) == "parameter.min_length"


def test_an_empty_list_is_a_value_of_a_required_list() -> None:
    assert validate(schema(a=EVERY_KIND["properties"]["ls"], required=("a",)), {"a": []}, defaults={}) == {"a": []}
    models = {**schema(a=EVERY_KIND["properties"]["lm"], required=("a",)), "definitions": EVERY_KIND["definitions"]}
    assert validate(models, {"a": []}, defaults={}) == {"a": []}


def test_counts_may_have_a_point() -> None:
    bounded = schema(a={"type": "string", "minLength": 2.0, "maxLength": 5.0})
    assert validate(bounded, {"a": "abcde"}, defaults={}) == {"a": "abcde"}
    assert sentences(bounded, {"a": "abcdef"}) == ["Must have at most 5 characters."]
    assert refusal(bounded, {"a": "a"}) == "parameter.min_length"
    for keyword in schema_checks.COUNTS:
        prepare(schema(a={keyword: 3.0, "contains": {}}))
        assert unusable(schema(a={keyword: 3.5})) == "value"
        assert unusable(schema(a={keyword: -1.0})) == "value"


@pytest.mark.parametrize("name", ["i", "bi", "oi"])
@pytest.mark.parametrize("number", [9.3e18, 1e19, -1e19, 1e300])
def test_a_float_of_64_bits_is_no_whole_number(name: str, number: float) -> None:
    assert "parameter.type" in refusals(only(name), {"value": number}).values()


def test_a_small_float_without_fraction_is_a_whole_number() -> None:
    assert validate(only("i"), {"value": 1e18}, defaults={}) == {"value": 1e18}
    assert validate(only("fl"), {"value": 1e300}, defaults={}) == {"value": 1e300}


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1, 10**30])
def test_no_number_of_more_than_64_bits_at_any_depth(number: int) -> None:
    for name in ("i", "fl", "anyv"):
        assert refusal(only(name), {"value": number}) == "parameter.too_many_bits"
    nested = {"a": [{"b": number}]}
    assert refusals(only("dsa"), {"value": nested}) == {"value.a[0].b": "parameter.too_many_bits"}
    assert refusal(only("anyv"), {}, {"value": number}) == "parameter.too_many_bits"


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**63])
def test_numbers_of_64_bits_are_kept(number: int) -> None:
    assert validate(only("i"), {"value": number}, defaults={}) == {"value": number}


@pytest.mark.parametrize("value", ["a\0", "\ud800", 2**64, -(2**63) - 1, float("nan"), float("inf"), True, 5, 0.5, "ü"])
def test_the_judge_refuses_what_the_sender_refuses(value: Any) -> None:
    """Otherwise a value is accepted, approved, and refused only when it is sent."""
    try:
        check_payload({"parameters": {"value": [{"a": value}]}}, where="Prefect", act="start a run")
        is_sent = True
    except Rejected:
        is_sent = False
    try:
        validate(only("anyv"), {"value": [{"a": value}]}, defaults={})
        is_accepted = True
    except Invalid:
        is_accepted = False
    assert is_sent == is_accepted


def test_names_that_a_schema_allows_are_not_unknown() -> None:
    kind = {"type": "object", "properties": {"a": {}}, "additionalProperties": True}
    assert validate(schema(v=kind), {"v": {"b": 1}}, defaults={}) == {"v": {"b": 1}}
    closed = {**kind, "additionalProperties": False}
    assert refusals(schema(v=closed), {"v": {"b": 1}}) == {"v.b": "parameter.unknown"}


def test_names_of_a_composition_are_known_to_all_its_parts() -> None:
    composed = {"allOf": [{"properties": {"a": {}}}, {"properties": {"b": {}}}], "properties": {"c": {}}}
    assert validate(schema(v=composed), {"v": {"a": 1, "b": 2, "c": 3}}, defaults={})
    assert list(refusals(schema(v=composed), {"v": {"d": 1}})) == ["v.d"]


def test_schemas_of_pydantic_1_are_read() -> None:
    values = {"v": {"t": [1, "x"], "n": 4}, "d": "2026-01-31T00:00:00Z"}
    assert validate(PYDANTIC_1, values, defaults={}) == values
    found = refusals(PYDANTIC_1, {"v": {"t": ["x", 1], "n": 3}, "d": ""})
    assert set(found) == {"v.t[0]", "v.t[1]", "v.n", "d"}


def test_a_schema_without_parameters_takes_none() -> None:
    assert validate({}, {}, defaults={}) == {}
    assert list(refusals({}, {"a": 1})) == ["a"]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("d", ["2026-01-31"], ["2026-02-30", "20260131", "2026-01-31T00:00", "2026-W05-6", "1700000000", ""]),
        (
            "dt",
            [
                "2026-01-31",
                "2026-01-31T14:30",
                "2026-01-31 14:30:00.5",
                "2026-01-31T14:30:00Z",
                "2026-01-31T14:30:00+01:00",
            ],
            ["2026-01-31T25:00", "1700000000", "20260131T143000", "now", "2026-01-31T14:30:00+99:00"],
        ),
        ("t", ["14:30", "14:30:00", "14:30:00.5+01:00"], ["25:00", "1430", "3600", "noon"]),
        (
            "td",
            ["PT1H30M", "P2D", "-P1W", "01:30:00", "1 day, 01:00:00", "PT0.5S"],
            ["", "P", "90", "1.5", "P1H", "1h"],
        ),
        ("uid", [BLOCK_ID, BLOCK_ID.replace("-", "")], ["", "x", BLOCK_ID[:-1], f"{BLOCK_ID}\n"]),
        (
            "url",
            ["https://example.org/a?b=c", "s3://bucket/key"],
            ["example.org", "/a", "http://[", "https://a b", "http://", "http://h:abc/p"],
        ),
    ],
)
def test_formats_are_what_the_flow_itself_would_take(name: str, good: list[str], bad: list[str]) -> None:
    for text in good:
        assert validate(only(name), {"value": text}, defaults={}) == {"value": text}
    for text in bad:
        assert refusals(only(name), {"value": text}), text


@pytest.mark.parametrize(("kind", "good", "bad"), [("email", "a@b.org", "a@b"), ("ipv4", "127.0.0.1", "::1")])
def test_other_formats_that_a_schema_names_are_checked(kind: str, good: str, bad: str) -> None:
    named = schema(a={"type": "string", "format": kind})
    assert validate(named, {"a": good}, defaults={})
    assert refusals(named, {"a": bad})


# What neither Prefect nor Postgres may get


@pytest.mark.parametrize("name", ["anyv", "dsa", "s"])
def test_nothing_that_prefect_would_fill_in(name: str) -> None:
    value: Any = {"__prefect_kind": "jinja", "template": "{{ x }}"}
    assert refusals(only(name), {"value": value})["value"] == "parameter.prefect_kind"
    if name != "s":
        deep = {"a": [{"b": value}]}
        assert refusals(only(name), {"value": deep})["value.a[0].b"] == "parameter.prefect_kind"


VARIABLE: dict[str, Any] = {"__prefect_kind": "workspace_variable", "variable_name": "v"}
TEMPLATE: dict[str, Any] = {"__prefect_kind": "jinja", "template": "{{ x }}"}
BLOCK: dict[str, Any] = {"$ref": {"block_document_slug": "secret/prod-database"}}


@pytest.mark.parametrize("name", ["s", "i", "anyv", "dsa", "db", "lm", "os", "sdef", "sec"])
@pytest.mark.parametrize(
    "default", [VARIABLE, TEMPLATE, {"a": [{"b": VARIABLE}]}], ids=["variable", "template", "deep"]
)
def test_a_default_that_prefect_fills_in_is_left_out_of_what_is_sent(name: str, default: Any) -> None:
    both = schema(value=EVERY_KIND["properties"][name], other={"type": "integer"}, required=("value",))
    both["definitions"] = EVERY_KIND["definitions"]
    defaults = {"value": default}
    assert validate(both, {}, defaults=defaults) == {}
    assert validate(both, {"other": 1}, defaults=defaults) == {"other": 1}
    assert validate(both, {"value": default, "other": 1}, defaults=defaults) == {"other": 1}
    assert runnable_as_is(both, defaults)


def test_another_marker_than_the_deployers_own_is_refused() -> None:
    defaults = {"value": {"a": VARIABLE}}
    assert refusals(only("dsa"), {"value": {"a": TEMPLATE}}, defaults) == {"value.a": "parameter.prefect_kind"}
    changed = {"a": {**VARIABLE, "variable_name": "other"}}
    assert refusals(only("dsa"), {"value": changed}, defaults) == {"value.a": "parameter.prefect_kind"}
    assert refusals(only("dsa"), {"value": {"a": VARIABLE, "b": 1}}, defaults) == {"value.a": "parameter.prefect_kind"}
    assert validate(only("dsa"), {"value": {"a": 1}}, defaults=defaults) == {"value": {"a": 1}}


def test_a_deployments_own_block_is_left_to_prefect() -> None:
    assert validate(only("anyv"), {}, defaults={"value": BLOCK}) == {}
    assert refusal(only("anyv"), {"value": BLOCK}) == "parameter.reference"


def test_a_default_with_a_marker_of_an_unknown_parameter_is_refused() -> None:
    assert "gone" in refusals(only("os"), {}, {"gone": VARIABLE})


def test_no_block_is_loaded_where_none_is_asked_for() -> None:
    value = {"$ref": {"block_document_slug": "secret/prod-database"}}
    assert refusal(only("anyv"), {"value": value}) == "parameter.reference"
    assert refusals(only("dsa"), {"value": {"a": [value]}})["value.a[0]"] == "parameter.reference"


@pytest.mark.parametrize(
    "reference", [BLOCK_ID, {"block_document_id": BLOCK_ID}, {"block_document_slug": "creds/warehouse"}]
)
def test_a_block_may_be_named_where_one_is_asked_for(reference: Any) -> None:
    values = {"c": {"$ref": reference}, "s": {"$ref": reference}, "oc": {"$ref": reference}, "args": 1}
    assert validate(BLOCKS, values, defaults={}) == values


def test_a_block_may_not_be_named_within_another() -> None:
    value = {"user": "u", "password": "p", "more": {"$ref": {"block_document_id": BLOCK_ID}}}
    assert refusals(BLOCKS, {"c": value})["c.more"] == "parameter.reference"


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x\udfff"])
def test_no_character_that_postgres_cannot_store(text: str) -> None:
    assert refusal(only("s"), {"value": text}) == "parameter.not_storable"
    assert refusal(only("dsa"), {"value": {text: 1}}) == "parameter.not_storable"
    assert refusals(only("dsa"), {"value": {"a": [text]}})["value.a[0]"] == "parameter.not_storable"
    assert "parameter.not_storable" in refusals(only("s"), {text: 1}).values()


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_no_number_that_json_does_not_have(number: float) -> None:
    assert refusal(only("fl"), {"value": number}) == "parameter.not_finite"
    assert refusals(only("bi"), {"value": number})


def test_five_megabytes_are_refused_with_the_limit() -> None:
    started = time.thread_time()
    values = {"value": ["x" * 100] * 50_000}
    assert refusals(only("ls"), values) == {"": "parameter.too_large"}
    assert time.thread_time() - started < 1


def test_size_is_counted_as_prefect_counts_it() -> None:
    around = len('{"value":""}')
    assert validate(only("s"), {"value": "x" * (512 * 1024 - around - 1)}, defaults={})
    assert refusal(only("s"), {"value": "x" * (512 * 1024 - around)})
    assert refusal(only("s"), {"value": "é" * (512 * 1024 // 6)})


@pytest.mark.parametrize("levels", [25, 100_000])
def test_no_nesting_without_end(levels: int) -> None:
    value: Any = []
    for _ in range(levels):
        value = [value]
    found = refusals(only("anyv"), {"value": value})
    assert list(found.values()) == ["parameter.too_deep"]


@pytest.mark.parametrize("value", [{1, 2}, object(), b"x", (1, 2), {1: "x"}, [10**5000]])
def test_only_json_is_judged(value: Any) -> None:
    assert refusals(only("anyv"), {"value": value})


# Schemas written with ill will


@pytest.mark.parametrize(
    "ref",
    ["http://127.0.0.1:9/x.json", "https://example.org/#/a", "file:///etc/passwd", "other.json", "#/properties/a", "#"],
)
def test_nothing_outside_the_schema_is_read(ref: str) -> None:
    assert unusable(schema(a={"$ref": ref})) == "reference"
    assert refusal(schema(a={"$ref": ref}), {"a": 1}) == "parameter.schema"


@pytest.mark.parametrize(
    "definitions",
    [
        {"A": {"$ref": "#/definitions/A"}},
        {"A": {"$ref": "#/definitions/B"}, "B": {"allOf": [{"$ref": "#/definitions/A"}]}},
        {"A": {"anyOf": [{"$ref": "#/definitions/A"}, {"$ref": "#/definitions/A"}]}},
        {"A": {"anyOf": [{"$ref": "#/definitions/A"}, {"type": "null"}]}},
        {"A": {"not": {"$ref": "#/definitions/A"}}},
    ],
)
def test_a_circular_schema_is_refused(definitions: Any) -> None:
    circular = schema(a={"$ref": "#/definitions/A"}, definitions=definitions)
    assert unusable(circular) == "circular"
    assert refusal(circular, {"a": 1}) == "parameter.schema"
    assert mask(circular, {"a": 1}) == {"a": MASK}


def test_a_schema_with_a_long_chain_of_references_is_refused() -> None:
    chain: dict[str, Any] = {f"A{n}": {"anyOf": [{"$ref": f"#/definitions/A{n + 1}"}]} for n in range(1000)}
    endless = schema(a={"$ref": "#/definitions/A0"}, definitions=chain | {"A1000": {}})
    assert unusable(endless) == "reference_chain"
    assert refusal(endless, {"a": 1}) == "parameter.schema"


def test_a_type_that_holds_itself_is_no_circle() -> None:
    inner = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"$ref": "#/definitions/A"}}]}
    nested = schema(a={"$ref": "#/definitions/A"}, definitions={"A": inner})
    assert validate(nested, {"a": ["x", ["y", []]]}, defaults={})
    assert refusal(nested, {"a": [[1]]}) == "parameter.type"


def test_a_schema_that_multiplies_its_work_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(validation, "thread_time", lambda: next(ticks) / 1000)
    doubling = {f"A{n}": {"allOf": [{"$ref": f"#/definitions/A{n + 1}"}] * 2} for n in range(50)} | {"A50": {}}
    doubled = schema(a={"$ref": "#/definitions/A0"}, definitions=doubling)
    assert refusal(doubled, {"a": 1}) == "parameter.schema"
    with pytest.raises(Unusable) as stopped:
        validation.find_errors(prepare(doubled), {"a": 1}, limit=1)
    assert stopped.value.reason == "slow"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("^(a+)+$", "a" * 50_000 + "!"),
        ("^(a|a)*$", "a" * 50_000 + "!"),
        ("(.*)*x(.*)*y", " " * 50_000),
        ("((a{1000}){1000}){1000}", "a"),
        ("(?:a*){50000}[bc]", "a" * 10_000),
        ("(?:[ab]?[ac]?){20000}[de]$", "a" * 5_000),
        ("(" * 5_000 + "a" + ")" * 5_000, "a"),
    ],
)
def test_no_pattern_hangs(pattern: str, text: str) -> None:
    started = time.thread_time()
    with contextlib.suppress(Invalid):
        validate(schema(a={"type": "string", "pattern": pattern}), {"a": text}, defaults={})
    assert time.thread_time() - started < 2


def test_a_text_too_long_for_its_pattern_is_refused() -> None:
    costly = schema(a={"type": "string", "pattern": "^(ab?){1000}$"})
    assert refusal(costly, {"a": "a" * 10_000}) == "parameter.max_length"


def test_a_pattern_is_explained_by_an_example_that_matches_it() -> None:
    month = {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$"}
    assert "2017-03" in sentences(schema(a={**month, "examples": ["2017-03"]}), {"a": "2017/3"})[0]
    for examples in (["March"], [3], "2017-03", None):
        of = schema(a={**month, "examples": examples})
        assert refusal(of, {"a": "2017/3"}) == "parameter.pattern"
        (message,) = sentences(of, {"a": "2017/3"})
        assert "March" not in message


def test_a_pattern_of_another_dialect_is_left_to_the_flow() -> None:
    assert validate(schema(a={"type": "string", "pattern": "^(?=a)a"}), {"a": "b"}, defaults={}) == {"a": "b"}


def test_a_part_of_a_schema_cannot_ask_for_another_judge() -> None:
    other = {"$schema": "http://json-schema.org/draft-07/schema#", "type": "string", "pattern": "^(a|a)*$"}
    started = time.thread_time()
    assert refusals(schema(a=other), {"a": "a" * 40 + "!"})
    assert refusals(schema(a={"$id": "http://x/", "$ref": "#/definitions/A"}, definitions={"A": other}), {"a": 1})
    assert time.thread_time() - started < 1


def test_many_different_items_are_compared_in_time() -> None:
    values = [{"n": number} for number in range(20_000)]
    different = schema(a={"type": "array", "uniqueItems": True})
    started = time.thread_time()
    assert validate(different, {"a": values}, defaults={})
    assert refusals(different, {"a": [1, 1.0]})
    assert validate(different, {"a": [1, True, "1"]}, defaults={})
    assert time.thread_time() - started < 2


@pytest.mark.parametrize(
    "part",
    [
        {"type": 5},
        {"type": "strange"},
        {"minimum": "x"},
        {"minimum": float("nan")},
        {"multipleOf": 0},
        {"multipleOf": float("inf")},
        {"pattern": 5},
        {"enum": 5},
        {"anyOf": {}},
        {"anyOf": [5]},
        {"items": 5},
        {"properties": []},
        {"properties": {"a": 5}},
        {"required": [["a"]]},
        {"unevaluatedProperties": False},
        {"$dynamicRef": "#x"},
        {"$ref": 5},
        {"discriminator": []},
    ],
)
def test_an_invalid_schema_is_refused(part: Any) -> None:
    assert refusal(schema(a=part), {"a": 1}) == "parameter.schema"
    assert refusal(schema(a={"type": "array", "items": part}), {"a": [1]}) == "parameter.schema"


def test_a_schema_nested_too_deeply_is_refused() -> None:
    deep: Any = {}
    for _ in range(200):
        deep = {"type": "array", "items": deep}
    assert unusable(schema(a=deep)) == "too_deep"
    assert refusal(schema(a=deep), {"a": []}) == "parameter.schema"


# Fingerprints


def test_a_fingerprint_does_not_depend_on_spelling() -> None:
    assert fingerprint({"a": 1, "b": [1.0, 1e22]}) == fingerprint({"b": [1, 10**22], "a": 1.0})


@pytest.mark.parametrize("other", [{"a": True}, {"a": "1"}, {"a": 2}, {"a": [1]}, {"a": 1, "b": None}, {}])
def test_a_fingerprint_depends_on_everything_else(other: Any) -> None:
    assert fingerprint({"a": 1}) != fingerprint(other)


# Secrets


SECRETS: dict[str, Any] = {
    "s": "seen",
    "sec": "hidden-1",
    "osec": "hidden-2",
    "lsec": ["hidden-3", "hidden-4"],
    "dsec": {"a/b~c": "hidden-5"},
    "db": {"host": "seen", "password": "hidden-6"},
    "odb": {"host": "seen", "password": None},
    "lm": [{"host": "seen"}, {"host": "seen", "password": "hidden-7"}],
}


def test_secrets_are_masked_wherever_they_stand() -> None:
    masked = mask(EVERY_KIND, SECRETS)
    assert "hidden" not in json.dumps(masked)
    assert masked == {
        "s": "seen",
        "sec": MASK,
        "osec": MASK,
        "lsec": [MASK, MASK],
        "dsec": {"a/b~c": MASK},
        "db": {"host": "seen", "password": MASK},
        "odb": {"host": "seen", "password": None},
        "lm": [{"host": "seen"}, {"host": "seen", "password": MASK}],
    }


def test_what_is_split_is_joined_again() -> None:
    public, secrets = split(EVERY_KIND, SECRETS)
    assert "hidden" not in json.dumps(public)
    assert secrets["/dsec/a~1b~0c"] == "hidden-5"
    assert secrets["/lm/1/password"] == "hidden-7"
    assert join(json.loads(json.dumps(public)), json.loads(json.dumps(secrets))) == SECRETS


def test_what_the_schema_does_not_know_is_hidden() -> None:
    values = {"password_of_last_year": "x", "db": {"token": "y", "host": "h"}, "i": {"password": "z"}, "dsa": {"a": 1}}
    assert mask(EVERY_KIND, values) == {
        "password_of_last_year": MASK,
        "db": {"token": MASK, "host": "h"},
        "i": MASK,
        "dsa": {"a": 1},
    }


def test_without_a_usable_schema_everything_is_secret() -> None:
    broken = schema(a={"$ref": "http://example.org"})
    assert mask(broken, {"a": 1}) == {"a": MASK}
    assert split(broken, {"a": 1}) == ({}, {"/a": 1})


def test_secrets_of_any_form_of_a_union_are_hidden() -> None:
    key = {"type": "object", "properties": {"key": {"type": "string", "writeOnly": True}}}
    user = {"type": "object", "properties": {"user": {"type": "string"}}}
    union = schema(a={"anyOf": [{"type": "array", "items": key}, key, user]})
    assert mask(union, {"a": {"key": "k"}}) == {"a": {"key": MASK}}
    assert mask(union, {"a": [{"key": "k"}]}) == {"a": [{"key": MASK}]}
    assert mask(union, {"a": {"user": "u"}}) == {"a": {"user": "u"}}


def test_a_block_that_is_spelled_out_keeps_its_secrets() -> None:
    values = {"c": {"user": "u", "password": "p"}, "s": {"value": {"password": "p"}}}
    assert mask(BLOCKS, values) == {"c": {"user": "u", "password": MASK}, "s": {"value": MASK}}


def test_masking_reads_values_of_any_depth() -> None:
    value: Any = 1
    for _ in range(400):
        value = [value]
    assert MASK in json.dumps(mask(only("anyv"), {"value": value}), ensure_ascii=False)
