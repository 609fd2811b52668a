"""What holds for parameters whatever the schema, the values and the hands that typed them."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, event, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry

from flows.parameters import Invalid, ParameterForm, fingerprint, join, mask, runnable_as_is, split, validate
from flows.parameters.messages import choice_labels
from flows.parameters.references import from_texts
from tests.flows.parameters.test_form import BLOCKS, EVERY_KIND, fill

calm = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
few = settings(calm, max_examples=10)

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=8
)

ODD = st.sampled_from(["string", "integer", "array", "object", "null", "a", "date-time", "password", "(a", "[a-c]+$"])
REF = st.sampled_from(["#/definitions/a", "#/definitions/object", "#/definitions/null", "#", "http://example.org/a"])


def odd_nodes() -> st.SearchStrategy[Any]:
    """Unusual schemas, most of them of a valid shape."""

    def node(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        one = inner | st.booleans()
        many, named = st.lists(one, max_size=3), st.dictionaries(ODD, one, max_size=3)
        bound = st.integers(-3, 30) | st.floats(0.1, 9)
        keywords: dict[str, st.SearchStrategy[Any]] = {
            **dict.fromkeys(("allOf", "anyOf", "oneOf", "prefixItems"), many),
            **dict.fromkeys(("properties", "patternProperties", "dependentSchemas"), named),
            **dict.fromkeys(
                ("items", "additionalProperties", "propertyNames", "contains", "not", "if", "then", "else"), one
            ),
            **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), bound),
            **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties"), st.integers(0, 3)),
            **dict.fromkeys(("title", "description", "block_type_slug", "format"), ODD),
            **dict.fromkeys(("uniqueItems", "writeOnly"), st.booleans()),
            **dict.fromkeys(("default", "const"), JSON),
            "$ref": REF,
            "discriminator": st.fixed_dictionaries(
                {"propertyName": ODD}, optional={"mapping": st.dictionaries(ODD, REF)}
            ),
            "enum": st.lists(JSON, max_size=3),
            "multipleOf": st.integers(1, 3) | st.floats(0.1, 3),
            "pattern": ODD,
            "required": st.lists(ODD, max_size=2),
            "type": ODD | st.lists(ODD, max_size=3),
            "position": st.integers(0, 3),
        }
        # A few words at a time: with more, most values would fit nothing.
        return st.lists(st.sampled_from(sorted(keywords)), max_size=4, unique=True).flatmap(
            lambda words: st.fixed_dictionaries({word: keywords[word] for word in words})
        )

    return st.recursive(st.just({}) | ODD.map(lambda kind: {"type": kind}), node, max_leaves=6)


def odd_schemas() -> st.SearchStrategy[Any]:
    named = st.dictionaries(ODD, odd_nodes(), max_size=3)
    whole = st.fixed_dictionaries(
        {"properties": named, "definitions": st.just({"a": {}, "object": {"type": "object"}, "null": {}}) | named},
        optional={"required": st.lists(ODD, max_size=2), "additionalProperties": odd_nodes()},
    )
    return whole | st.dictionaries(TEXT | ODD, JSON, max_size=3)


def described() -> st.SearchStrategy[tuple[dict[str, Any], Any]]:
    """A schema of a kind that flows have, with a value that fits it."""
    simple = st.sampled_from(
        [
            ({"type": "string"}, TEXT),
            ({"type": "integer"}, st.integers(-(10**30), 10**30)),
            ({"type": "number"}, st.floats(allow_nan=False, allow_infinity=False)),
            ({"type": "boolean"}, st.booleans()),
            ({"type": "string", "format": "date"}, st.dates().map(str)),
            (
                {"type": "string", "format": "date-time"},
                st.datetimes(timezones=st.none() | st.timezones()).map(_moment),
            ),
            ({"type": "string", "format": "time"}, st.times().map(str)),
            ({"type": "string", "format": "uuid"}, st.uuids().map(str)),
            ({"type": "string", "format": "password", "writeOnly": True}, TEXT.filter(bool)),
            ({"enum": ["a", "b", "", 1, "1", True, None]}, st.sampled_from(["a", "b", 1, "1", True, None])),
            ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, st.integers() | TEXT),
            (
                {"anyOf": [{"type": "number"}, {"type": "string"}]},
                st.decimals(allow_nan=False, allow_infinity=False).map(str),
            ),
            ({}, JSON.filter(lambda value: value != "" and "$ref" not in json.dumps(value))),
        ]
    )

    def larger(inner: st.SearchStrategy[tuple[Any, Any]]) -> st.SearchStrategy[tuple[Any, Any]]:
        return st.one_of(
            inner.map(lambda one: ({"anyOf": [one[0], {"type": "null"}]}, st.none() | one[1])),
            inner.map(lambda one: ({"type": "array", "items": one[0]}, st.lists(one[1], max_size=3))),
            inner.map(
                lambda one: (
                    {"type": "object", "additionalProperties": one[0]},
                    st.dictionaries(TEXT.filter(lambda name: name != "$ref"), one[1], max_size=3),
                )
            ),
            st.tuples(inner, inner).map(
                lambda two: (
                    {"properties": {"a-b": two[0][0], "c.d": two[1][0]}, "type": "object", "required": ["a-b"]},
                    st.fixed_dictionaries({"a-b": two[0][1]}, optional={"c.d": two[1][1]}),
                )
            ),
        )

    kinds = st.recursive(simple, larger, max_leaves=4)
    return kinds.flatmap(lambda one: one[1].map(lambda value: (one[0], value)))


def _moment(value: Any) -> str:
    text: str = value.isoformat()
    # Zones of long ago had seconds, which neither JSON Schema nor pydantic writes.
    return text if len(text.rpartition("+")[2]) != 8 or "+" not in text else text.rpartition("+")[0]


def sent_as_shown(schema: Any, defaults: Any, **options: Any) -> ParameterForm:
    return ParameterForm(schema, defaults, data=fill(ParameterForm(schema, defaults, **options)), **options)


@calm
@given(described(), st.booleans(), st.sampled_from(["default", "defaults", "initial"]))
def test_a_form_sent_as_it_was_shown_changes_nothing(one: Any, is_required: bool, where: str) -> None:
    node, value = one
    schema: dict[str, Any] = {"properties": {"value": {**node, "default": value} if where == "default" else node}}
    if is_required and where != "default":
        schema["required"] = ["value"]
    defaults = {"value": value} if where == "defaults" else {}
    initial = {"value": value} if where == "initial" else {}
    form = sent_as_shown(schema, defaults, initial=initial)
    try:
        expected = validate(schema, initial, defaults=defaults)
    except Invalid:
        event("refused")
        assert not form.is_valid()
    else:
        assert form.is_valid(), form.errors
        assert json.dumps(form.resolved) == json.dumps(expected)


@calm
@given(described())
def test_what_fits_is_accepted_and_resolves_to_itself(one: Any) -> None:
    node, value = one
    schema = {"properties": {"value": node}, "required": ["value"]}
    try:
        resolved = validate(schema, {"value": value}, defaults={})
    except Invalid as invalid:
        event(invalid.errors[0].message)
        return
    assert resolved == {"value": value}
    assert validate(schema, resolved, defaults={}) == resolved


@given(st.lists(SCALARS | st.sampled_from(["1", '"1"', "true", " a", "a", "x" * 70, "x" * 71]), unique_by=json.dumps))
def test_no_two_choices_have_the_same_label(choices: list[Any]) -> None:
    labels = choice_labels(choices)
    assert len({" ".join(label.split()) for label in labels}) == len(choices)


OPEN = st.sampled_from(
    [
        {},
        {"anyOf": [{"type": "string"}, {"type": "array"}]},
        {"anyOf": [{"type": "string"}, {"type": "object"}, {"type": "boolean"}]},
        {"anyOf": [{"type": "integer"}, {"type": "string"}]},
        {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "array"}]},
    ]
)


@calm
@example({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 7.0)
@given(OPEN, JSON.filter(lambda value: "$ref" not in json.dumps(value)))
def test_what_a_form_shows_a_link_reads_back(node: Any, value: Any) -> None:
    schema = {"properties": {"value": node}}
    try:
        validate(schema, {"value": value}, defaults={})
    except Invalid:
        return
    shown = ParameterForm(schema, {"value": value}).parts["value"].input.initial  # type: ignore[union-attr]
    event("text" if isinstance(value, str) else "other")
    read = from_texts(schema, {"value": shown})
    # A text area changes line ends, and a whole number has no point: 7.0 is 7 in JSON. Nothing else may change.
    if isinstance(value, float) and value.is_integer() and node.get("anyOf"):
        value = int(value)
    assert json.dumps(read["value"]).replace("\\r\\n", "\\n") == json.dumps(value).replace("\\r\\n", "\\n")


@calm
@given(odd_schemas(), st.dictionaries(ODD, JSON, max_size=3), st.dictionaries(ODD, JSON, max_size=2))
def test_no_schema_and_no_value_breaks_the_judge(schema: Any, values: Any, defaults: Any) -> None:
    errors: tuple[Any, ...] = ()
    try:
        assert json.dumps(validate(schema, values, defaults=defaults))
    except Invalid as invalid:
        errors = invalid.errors
    event(errors[0].message if errors else "accepted")
    assert all(error.message for error in errors)
    assert isinstance(runnable_as_is(schema, defaults), bool)
    assert len(fingerprint(schema)) == 64
    assert mask(schema, values).keys() == values.keys()
    assert join(*split(schema, values)) == values


@calm
@given(odd_nodes(), JSON)
def test_the_judge_is_never_milder_than_the_library(node: Any, value: Any) -> None:
    schema = {
        "properties": {"a": node},
        "definitions": {"a": {}, "object": {"type": "object"}, "null": {"type": "null"}},
    }
    try:
        fits = Draft202012Validator(schema, registry=Registry()).is_valid({"a": value})
    except Exception:  # what the library cannot read is not compared
        fits = True
    if not fits:
        event("refused")
        with pytest.raises(Invalid):
            validate(schema, {"a": value}, defaults={})


@calm
@given(odd_schemas(), st.dictionaries(ODD, JSON, max_size=3))
def test_no_schema_breaks_the_form(schema: Any, defaults: Any) -> None:
    form = sent_as_shown(schema, defaults)
    form.is_valid()
    assert form.render()


@few
@given(st.data())
def test_whatever_is_typed_is_answered(data: Any) -> None:
    shown = fill(ParameterForm(EVERY_KIND, {}))
    names = data.draw(st.lists(st.sampled_from(sorted(shown)), max_size=5))
    for name in names:
        shown.setlist(name, data.draw(st.lists(st.text(max_size=5) | ODD | TEXT, max_size=2)))
    form = ParameterForm(EVERY_KIND, {}, data=shown)
    assert not form.is_valid()
    assert form.render()


@calm
@given(st.dictionaries(st.sampled_from(sorted(EVERY_KIND["properties"])), JSON))
def test_what_is_split_is_joined_to_the_same(values: Any) -> None:
    public, secrets = split(EVERY_KIND, values)
    assert join(json.loads(json.dumps(public)), json.loads(json.dumps(secrets))) == values


@few
@given(st.integers(0).map("secret-{}-secret".format), st.data())
def test_no_form_shows_a_secret(secret: str, data: Any) -> None:
    values: dict[str, Any] = {
        "sec": secret,
        "osec": secret,
        "lsec": [secret],
        "dsec": {"a": secret},
        "db": {"host": "h", "password": secret},
        "lm": [{"host": "h", "password": secret}],
    }
    schema = {**EVERY_KIND, "properties": {name: EVERY_KIND["properties"][name] for name in values}}
    kept = {name: values[name] for name in data.draw(st.sets(st.sampled_from(sorted(values))))}
    form = sent_as_shown(schema, kept)
    assert secret not in ParameterForm(schema, kept).render()
    assert secret not in form.render()
    assert all(form.values[name] == value for name, value in kept.items())
    inline = {"c": {"user": "u", "password": secret}, "s": {"value": secret}}
    assert secret not in sent_as_shown(BLOCKS, inline).render()
