"""Texts are read by one rule, whether they are typed into a form or stand in a link."""

import json
from typing import Any

import pytest

from flows.parameters import ParameterForm
from flows.parameters.references import from_texts
from tests.flows.parameters.test_form import page, schema, typed_into

NULL = {"type": "null"}
TEXT, WHOLE, LIST = {"type": "string"}, {"type": "integer"}, {"type": "array", "items": {"type": "string"}}
UNTYPED = {"default": 42}
NUMBER_OR_TEXT = {"anyOf": [WHOLE, TEXT]}
TEXT_OR_LIST = {"anyOf": [TEXT, LIST]}
SWITCH = {"anyOf": [{"const": "auto", "type": "string"}, WHOLE]}


@pytest.mark.parametrize(
    ("node", "text", "value"),
    [
        (UNTYPED, "43", 43),
        (UNTYPED, "1.5", 1.5),
        (UNTYPED, "true", True),
        (UNTYPED, "null", None),
        (UNTYPED, "[1]", [1]),
        (UNTYPED, '{"a": 1}', {"a": 1}),
        (UNTYPED, "main", "main"),
        (UNTYPED, "s3://bucket/key", "s3://bucket/key"),
        (UNTYPED, "2026-10-01", "2026-10-01"),
        (UNTYPED, '"43"', "43"),
        (UNTYPED, '"[1]"', "[1]"),
        (TEXT_OR_LIST, "a", "a"),
        (TEXT_OR_LIST, "7", "7"),
        (TEXT_OR_LIST, "null", "null"),
        (TEXT_OR_LIST, '["a"]', ["a"]),
        (TEXT_OR_LIST, '"[a]"', "[a]"),
        ({"anyOf": [TEXT, {"type": "object"}]}, '{"a": 1}', {"a": 1}),
        ({"anyOf": [TEXT, LIST, WHOLE]}, "7", 7),
        ({"anyOf": [TEXT, LIST, WHOLE]}, '"7"', "7"),
        (NUMBER_OR_TEXT, "7", 7),
        (NUMBER_OR_TEXT, '"7"', "7"),
        (NUMBER_OR_TEXT, "007", "007"),
        (NUMBER_OR_TEXT, "seven", "seven"),
        (NUMBER_OR_TEXT, '"a" and "b"', '"a" and "b"'),
        ({"type": ["boolean", "string"]}, "true", True),
        ({"type": ["boolean", "string"]}, '"true"', "true"),
        (SWITCH, "auto", "auto"),
        (SWITCH, "5", 5),
        (TEXT, '"7"', '"7"'),
        (TEXT, "[1]", "[1]"),
        (WHOLE, "1e19", 10**19),
        (WHOLE, "9.3e18", 9300000000000000000),
        (WHOLE, "5.0", 5),
        ({"type": "number"}, "1e19", 1e19),
        ({"enum": [1, "1"]}, "1", 1),
        ({"enum": [1, "1"]}, '"1"', "1"),
    ],
)
def test_a_form_and_a_link_read_the_same(node: Any, text: str, value: Any) -> None:
    form = typed_into(schema(node), value=text)
    assert form.is_valid(), form.errors
    assert json.dumps(form.resolved["value"]) == json.dumps(value)
    assert json.dumps(from_texts(schema(node), {"value": text})["value"]) == json.dumps(value)


@pytest.mark.parametrize("node", [UNTYPED, TEXT_OR_LIST, LIST, {"anyOf": [LIST, {"type": "object"}]}])
@pytest.mark.parametrize("text", ["[1,", "[" * 100_000, "[" * 5_000 + "]" * 5_000, '{"a"'])
def test_broken_json_is_never_sent_as_text(node: Any, text: str) -> None:
    # A form reads a list by lines, which may begin with a bracket.
    assert node is LIST or not typed_into(schema(node), value=text).is_valid()


@pytest.mark.parametrize("node", [UNTYPED, TEXT_OR_LIST, LIST, NUMBER_OR_TEXT, WHOLE])
def test_a_link_of_any_depth_is_answered(node: Any) -> None:
    text = "[" * 100_000
    values = from_texts(schema(node), {"value": text})
    assert ParameterForm(schema(node), {}, initial=values).render()


@pytest.mark.parametrize("text", ["1e300", "1" + "0" * 30])
def test_a_number_of_more_than_64_bits_is_refused_where_it_is_typed(text: str) -> None:
    for node in (WHOLE, UNTYPED) if "e" not in text else (WHOLE,):
        form = typed_into(schema(node), value=text)
        assert form.codes == {"value": ["parameter.too_many_bits"]}
    assert typed_into(schema({"type": "object"}), value='{"a": [' + "9" * 30 + "]}").codes == {
        "value": ["parameter.too_many_bits"]
    }


@pytest.mark.parametrize(
    ("node", "value", "shown"),
    [
        (NUMBER_OR_TEXT, "7", '"7"'),
        (NUMBER_OR_TEXT, 7, "7"),
        (NUMBER_OR_TEXT, "seven", "seven"),
        (TEXT_OR_LIST, "a", "a"),
        (TEXT_OR_LIST, "[a]", '"[a]"'),
        (TEXT_OR_LIST, "7", "7"),
        (UNTYPED, "main", "main"),
        (UNTYPED, "43", '"43"'),
        (UNTYPED, 43, "43"),
        (UNTYPED, "", '""'),
        (UNTYPED, "null", '"null"'),
    ],
)
def test_a_form_shows_a_text_so_that_it_reads_back(node: Any, value: Any, shown: str) -> None:
    form = ParameterForm(schema(node), {"value": value})
    assert dict(page(form).sent)["parameters-value"] == shown
    untouched = typed_into(schema(node), {"value": value})
    assert untouched.is_valid(), untouched.errors
    assert json.dumps(untouched.resolved) == json.dumps({"value": value})
    assert json.dumps(from_texts(schema(node), {"value": shown})["value"]) == json.dumps(value)
