"""The form collects what a schema describes, and validates as every other caller does."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from django.http import QueryDict
from django.utils import timezone
from django.utils.html import escape

from flows.parameters import MASK, ParameterForm, validate, widgets
from flows.parameters.choices import find_choices
from flows.parameters.markup import element

SCHEMAS = Path(__file__).parent / "schemas"
EVERY_KIND: dict[str, Any] = json.loads((SCHEMAS / "every_kind.json").read_text())
BLOCKS: dict[str, Any] = json.loads((SCHEMAS / "blocks.json").read_text())

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


class Page(HTMLParser):
    """What a browser without scripts makes of a form: its controls, and what it would send."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sent: list[tuple[str, str]] = []
        self.controls: dict[str, dict[str, str]] = {}
        self.tags: list[tuple[str, dict[str, str]]] = []
        self._select = self._area = ""
        self._options: list[tuple[str, bool]] = []
        self._text = ""
        self.feed(html.replace("\r\n", "\n").replace("\r", "\n"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.tags.append((tag, attributes))
        name = attributes.get("name", "")
        if tag in ("input", "select", "textarea"):
            self.controls[name] = {**attributes, "tag": tag}
        if tag == "input" and (attributes.get("type") not in ("checkbox", "radio") or "checked" in attributes):
            self.sent.append((name, attributes.get("value", "")))
        elif tag == "select":
            self._select, self._options = name, []
        elif tag == "option" and self._select:
            self._options.append((attributes.get("value", ""), "selected" in attributes))
        elif tag == "textarea":
            self._area, self._text = name, ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "select":
            chosen = [value for value, is_on in self._options if is_on] or [value for value, _ in self._options[:1]]
            self.sent += [(self._select, value) for value in chosen]
            self._select = ""
        elif tag == "textarea":
            self.sent.append((self._area, self._text.removeprefix("\n").replace("\n", "\r\n")))
            self._area = ""

    def handle_data(self, data: str) -> None:
        if self._area:
            self._text += data


def page(form: ParameterForm) -> Page:
    return Page(form.render())


def fill(form: ParameterForm, **typed: str | list[str]) -> QueryDict:
    """What a browser sends after a person typed into some fields of the rendered form."""
    data = QueryDict(mutable=True)
    for name, value in page(form).sent:
        data.appendlist(name, value)
    for name, words in typed.items():
        data.setlist(f"parameters-{name}", words if isinstance(words, list) else [words])
    return data


def typed_into(schema: Any, defaults: Any = None, initial: Any = None, **typed: Any) -> ParameterForm:
    data = fill(ParameterForm(schema, defaults or {}, initial=initial), **typed)
    return ParameterForm(schema, defaults or {}, data=data, initial=initial)


def only(name: str, *, required: bool = True) -> dict[str, Any]:
    """The schema of one parameter of the flow that has every kind."""
    return {
        "properties": {"value": EVERY_KIND["properties"][name]},
        "required": ["value"] if required else [],
        "definitions": EVERY_KIND["definitions"],
    }


def schema(value: Any, *, required: bool = True, definitions: Any = None) -> dict[str, Any]:
    return {"properties": {"value": value}, "required": ["value"] if required else [], "definitions": definitions or {}}


def sent(form: ParameterForm) -> dict[str, Any]:
    """What a form sends beside the defaults."""
    assert form.is_valid(), form.errors
    return form.values


def resolved(form: ParameterForm) -> Any:
    assert form.is_valid(), form.errors
    return form.resolved["value"]


# What was typed becomes a value


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("s", " as typed ", " as typed "),
        ("i", "5", 5),
        ("i", " -7 ", -7),
        ("fl", "1.5", 1.5),
        ("fl", "1e3", 1000),
        ("b", "false", False),
        ("d", "2026-01-31", "2026-01-31"),
        ("t", "14:30", "14:30"),
        ("td", "PT1H30M", "PT1H30M"),
        ("colour", "green", "green"),
        ("num", "2", 2),
        ("lit2", "1", 1),
        ("lit2", '"1"', "1"),
        ("lit2", "true", True),
        ("os", "x", "x"),
        ("oi", "3", 3),
        ("ob", "true", True),
        ("ls", "a\r\n\r\n b \r\nc", ["a", "b", "c"]),
        ("ls", '["a", " b "]', ["a", " b "]),
        ("tupv", "1\r\n2", [1, 2]),
        ("lcol", ["", "green"], ["green"]),
        ("dsi", '{"a": 1}', {"a": 1}),
        ("dsa", '{"a": [1, null]}', {"a": [1, None]}),
        ("u", "5", 5),
        ("u", "five", "five"),
        ("u", "1.5", "1.5"),
        ("u2", '{"kind": "dog", "bark": "w"}', {"kind": "dog", "bark": "w"}),
        ("dec", "1.5", 1.5),
        ("dec", "0.10", "0.10"),
        ("dec", "12345678901234567890.123", "12345678901234567890.123"),
        ("tup", '[1, "x"]', [1, "x"]),
        ("sec", "hunter2", "hunter2"),
        ("p", "/tmp/x", "/tmp/x"),
        ("bi", "4", 4),
        ("anyv", '"x"', "x"),
        ("dd", "2026-01-31", "2026-01-31"),
    ],
)
def test_each_kind_reads_what_was_typed(name: str, typed: str, value: Any) -> None:
    got = resolved(typed_into(only(name), value=typed))
    assert got == value
    assert type(got) is type(value) or isinstance(value, int)


@pytest.mark.parametrize("name", ["os", "oi", "ob", "osec", "ocol", "odt", "odb", "lit2"])
def test_an_optional_parameter_left_empty_is_null(name: str) -> None:
    assert resolved(typed_into(only(name))) is None


def test_a_moment_typed_carries_the_readers_zone() -> None:
    with timezone.override("Europe/Vienna"):
        form = ParameterForm(only("dt"), {})
        assert "Time zone: Europe/Vienna." in form.render()
        assert resolved(typed_into(only("dt"), value="2026-07-01T12:00")) == "2026-07-01T12:00:00+02:00"


def test_a_moment_stays_without_a_zone_where_the_default_has_none() -> None:
    assert resolved(typed_into(only("dtdef"), value="2026-07-01T12:00")) == "2026-07-01T12:00:00"


def test_a_decimal_whose_default_is_text_stays_text() -> None:
    assert resolved(typed_into(only("decdef"), value="2.5")) == "2.5"


def test_a_text_with_several_lines_keeps_them() -> None:
    lines = schema({"type": "string", "default": "a\nb"})
    for one in (lines, schema({"type": "string"})):
        assert page(ParameterForm(one, {})).controls["parameters-value"]["tag"] == "textarea"
        for typed, value in (("a\r\nc\r\n", "a\nc\n"), ("\r\n\r\na", "\n\na"), ("  a\tb ", "  a\tb ")):
            assert resolved(typed_into(one, value=typed)) == value


@pytest.mark.parametrize("node", [{"pattern": "a*"}, {"format": "email"}, {"maxLength": 80}, {"format": "uuid"}])
def test_a_text_that_is_one_line_by_nature_has_one_line(node: dict[str, Any]) -> None:
    control = page(ParameterForm(schema({"type": "string", **node}), {})).controls["parameters-value"]
    assert control["tag"] == "input"
    long = schema({"type": "string", "maxLength": 5000})
    assert page(ParameterForm(long, {})).controls["parameters-value"]["tag"] == "textarea"


# Empty and not set

EMPTY = {"value-empty": ["false", "true"]}
TEXT = {"type": "string"}
OPTIONAL_TEXT = {"anyOf": [TEXT, {"type": "null"}]}


def test_a_required_text_left_blank_is_missing_and_empty_on_purpose_is_a_value() -> None:
    assert typed_into(schema(TEXT)).codes == {"value": ["parameter.required"]}
    assert sent(typed_into(schema(TEXT), **EMPTY)) == {"value": ""}


def test_a_required_text_that_was_cleared_is_missing() -> None:
    assert typed_into(schema(TEXT), {"value": "x"}, value="").codes == {"value": ["parameter.empty"]}
    assert sent(typed_into(schema(TEXT), {"value": "x"}, value="", **EMPTY)) == {"value": ""}


@pytest.mark.parametrize("node", [TEXT, OPTIONAL_TEXT, {"anyOf": [{"type": "integer"}, TEXT]}])
@pytest.mark.parametrize("where", ["defaults", "initial"])
def test_an_empty_text_that_was_given_opens_as_one_and_is_sent(node: dict[str, Any], where: str) -> None:
    for is_required in (True, False):
        given = {where: {"value": ""}}
        one = schema(node, required=is_required)
        assert (
            "checked"
            in page(ParameterForm(one, given.get("defaults", {}), initial=given.get("initial"))).controls[
                "parameters-value-empty"
            ]
        )
        assert resolved(typed_into(one, **given)) == ""


def test_an_optional_text_is_null_or_empty_as_its_box_says() -> None:
    assert resolved(typed_into(schema(OPTIONAL_TEXT))) is None
    assert resolved(typed_into(schema(OPTIONAL_TEXT), **EMPTY)) == ""
    assert resolved(typed_into(schema(OPTIONAL_TEXT), {"value": ""}, **{"value-empty": ["false"]})) is None
    assert resolved(typed_into(schema(OPTIONAL_TEXT), {"value": "x"}, value="", **EMPTY)) == ""


def test_an_optional_text_without_default_is_left_out_or_empty_as_its_box_says() -> None:
    assert sent(typed_into(schema(TEXT, required=False))) == {}
    assert sent(typed_into(schema(TEXT, required=False), **EMPTY)) == {"value": ""}


def test_a_typed_text_counts_more_than_the_box() -> None:
    assert resolved(typed_into(schema(TEXT), value="x", **EMPTY)) == "x"


@pytest.mark.parametrize(
    "node", [{"minLength": 1}, {"pattern": "^a+$"}, {"format": "date"}, {"enum": ["a"]}, {"writeOnly": True}]
)
def test_no_box_is_offered_where_an_empty_text_cannot_be_valid(node: dict[str, Any]) -> None:
    assert "parameters-value-empty" not in page(ParameterForm(schema({**TEXT, **node}), {})).controls


def test_a_saved_block_is_given_by_name_or_id() -> None:
    creds = {**BLOCKS, "required": [], "properties": {"value": BLOCKS["properties"]["c"]}}
    assert resolved(typed_into(creds, value="warehouse")) == {"$ref": {"block_document_slug": "creds/warehouse"}}
    ident = "123e4567-e89b-12d3-a456-426614174000"
    assert resolved(typed_into(creds, value=ident)) == {"$ref": {"block_document_id": ident}}
    given = {"value": {"$ref": {"block_document_slug": "creds/warehouse"}}}
    assert page(ParameterForm(creds, given)).controls["parameters-value"]["value"] == "warehouse"
    assert resolved(typed_into(creds, given)) == given["value"]


def test_a_block_that_the_deployment_spells_out_is_said_to_be_kept() -> None:
    creds = {**BLOCKS, "required": ["value"], "properties": {"value": BLOCKS["properties"]["c"]}}
    given = {"value": {"user": "u", "password": "hunter2"}}
    kept = "A block is spelled out in the deployment; leave empty to keep it."
    assert kept in ParameterForm(creds, given).render()
    assert resolved(typed_into(creds, given)) == given["value"]
    for other in ({}, {"value": {"$ref": {"block_document_slug": "creds/warehouse"}}}):
        assert kept not in ParameterForm(creds, other).render()


def test_the_help_of_a_list_names_some_of_many_choices_and_its_order() -> None:
    lines = ParameterForm(schema({"type": "array", "items": {"enum": CUSTOMERS}}), {}).render()
    assert "customer-00019 and 9,980 more" in lines
    assert "customer-00020" not in lines
    ticks = {"type": "array", "items": {"enum": ["a", "b"]}}
    order = "Sent in the order shown here."
    assert order in ParameterForm(schema(ticks), {}).render()
    assert order not in ParameterForm(schema({**ticks, "uniqueItems": True}), {}).render()


# What was left alone stays as it was


@pytest.mark.parametrize("name", [name for name, node in EVERY_KIND["properties"].items() if "default" in node])
def test_an_untouched_default_is_resolved_as_if_nothing_was_sent(name: str) -> None:
    alone = only(name, required=False)
    form = typed_into(alone)
    assert form.is_valid(), form.errors
    assert form.resolved == validate(alone, {}, defaults={})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("dt", "2026-01-31T14:30:15.123456+02:00"),
        ("dt", "2026-01-31"),
        ("t", "14:30:00+01:00"),
        ("fl", 1e-7),
        ("fl", 2.0),
        ("s", ""),
        ("fl", 10000000000000000000),
        ("dec", "1.50"),
        ("u", "5"),
        ("s", "a\r\nb\rc"),
        ("s", "  spaces  "),
        ("os", ""),
        ("ls", ["", " a", "b\nc"]),
        ("ls", []),
        ("lcol", ["green", "red", "green"]),
        ("dsa", {"a": "ü", "b": None}),
        ("anyv", None),
        ("anyv", [1, {"a": False}]),
        ("db", {"host": "h", "password": "hunter2"}),
        ("odb", {"host": "h"}),
        ("lm", [{"host": "h", "password": "hunter2"}, {"host": "i", "port": 1}]),
        ("lsec", ["hunter2", "hunter3"]),
        ("dsec", {"a": "hunter2"}),
        ("tree", {"name": "a", "children": [{"name": "b", "children": [{"name": "c", "children": []}]}]}),
    ],
)
@pytest.mark.parametrize("where", ["defaults", "initial"])
def test_a_given_value_left_alone_is_kept_to_the_letter(name: str, value: Any, where: str) -> None:
    form = typed_into(only(name, required=False), **{where: {"value": value}})
    assert json.dumps(resolved(form)) == json.dumps(value)


def test_a_browsers_own_spelling_is_no_change() -> None:
    # Chromium leaves the seconds off when they are nought.
    given = {"value": "2026-01-31T14:30:00.000000Z"}
    with timezone.override("UTC"):
        assert resolved(typed_into(only("dt"), given, value="2026-01-31T14:30")) == given["value"]


def test_a_whole_number_is_displayed_without_a_point_and_left_alone_stays_as_it_was() -> None:
    form = typed_into(schema({"type": "number", "minimum": 1.0}), {"value": 2.0})
    assert page(form).controls["parameters-value"]["value"] == "2"
    assert json.dumps(resolved(form)) == "2.0"


def test_a_field_that_was_not_sent_keeps_its_value() -> None:
    form = ParameterForm(only("bdef", required=False), {"value": True}, data=QueryDict(""))
    assert resolved(form) is True


def test_an_unticked_box_is_no() -> None:
    data = fill(ParameterForm(only("bdef"), {}))
    data.setlist("parameters-value", ["false"])
    assert resolved(ParameterForm(only("bdef"), {}, data=data)) is False


def test_what_is_emptied_is_emptied() -> None:
    assert resolved(typed_into(only("sdef", required=False), value="")) == ""
    assert resolved(typed_into(only("ldef"), value="")) == []
    assert resolved(typed_into(only("os"), {"value": "x"}, value="")) is None


@pytest.mark.parametrize("name", ["idef", "ddef", "tddef"])
def test_what_cannot_be_empty_does_not_fall_back_in_silence(name: str) -> None:
    form = typed_into(only(name, required=False), value="")
    assert form.codes == {"value": ["parameter.empty"]}


def test_a_preset_lies_over_the_defaults_and_may_be_out_of_date() -> None:
    form = ParameterForm(only("i"), {"value": 1}, initial={"value": 2, "gone": 3})
    assert page(form).controls["parameters-value"]["value"] == "2"
    (notice,) = form.notices
    assert "“gone”" in notice
    assert resolved(typed_into(only("i"), {"value": 1}, {"value": 2, "gone": 3})) == 2


# Many choices

CUSTOMERS = [f"customer-{number:05d}" for number in range(10_000)]


def many(values: list[Any], count: int = 1) -> dict[str, Any]:
    names = ["value", *(f"other{number}" for number in range(count - 1))]
    properties = {name: {"$ref": "#/definitions/Customer"} for name in names}
    return {"properties": properties, "required": names, "definitions": {"Customer": {"enum": values}}}


def options(form: ParameterForm) -> list[str]:
    return [attributes["value"] for tag, attributes in page(form).tags if tag == "option"]


def test_thousands_of_choices_are_searched_and_not_listed() -> None:
    form = ParameterForm(many(CUSTOMERS, 10), {})
    assert len(form.render()) < 100_000
    assert len(options(form)) == 200
    control = page(form).controls["parameters-value"]
    assert (control["type"], control["list"], control["data-choices"]) == (
        "text",
        "id_parameters-value_suggestions",
        "value",
    )
    a_few = ParameterForm(many(CUSTOMERS[:100]), {})
    assert page(a_few).controls["parameters-value"]["tag"] == "select"
    listed = schema({"type": "array", "items": {"enum": CUSTOMERS}})
    assert len(ParameterForm(listed, {}).render()) < 10_000


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ("customer-09999", "customer-09999"),
        (" customer-09999 ", "customer-09999"),
        ('"two\\nlines"', "two\nlines"),
        ('" padded "', " padded "),
    ],
)
def test_a_searched_choice_is_typed_as_it_is(typed: str, value: str) -> None:
    texts = many([*CUSTOMERS, "two\nlines", " padded "])
    assert resolved(typed_into(texts, value=typed)) == value
    (shown,) = [text for name, text in page(ParameterForm(texts, {"value": value})).sent if name == "parameters-value"]
    assert resolved(typed_into(texts, value=shown)) == value
    assert resolved(typed_into(texts, {"value": value})) == value


@pytest.mark.parametrize(("typed", "value"), [("1", 1), ('"1"', "1"), ("true", True), ("x", "x"), ("", None)])
def test_searched_choices_of_several_types_are_told_apart(typed: str, value: Any) -> None:
    mixed = many([*range(200), "1", True, "x", None])
    got = resolved(typed_into(mixed, value=typed))
    assert (got, type(got)) == (value, type(value))
    assert json.dumps(resolved(typed_into(mixed, {"value": value}))) == json.dumps(value)


def test_a_text_that_is_no_choice_is_refused() -> None:
    assert typed_into(many(CUSTOMERS), value="customer-1").codes == {"value": ["parameter.enum"]}
    assert typed_into(many(CUSTOMERS)).codes == {"value": ["parameter.required"]}


def test_a_search_finds_choices_by_any_part_and_those_that_begin_with_it_first() -> None:
    places = many(["Upper Austria", "Burgenland", "Austria"])
    assert find_choices(places, "value", " AUSTRIA") == ["Austria", "Upper Austria"]
    assert len(find_choices(many(CUSTOMERS), "value", "")) == 50
    assert find_choices(many(CUSTOMERS), "value", "09999") == ["customer-09999"]


def test_a_search_follows_the_name_of_an_input_and_knows_no_others() -> None:
    inner = {
        "type": "object",
        "properties": {"a.b": {"type": "array", "items": {"properties": {"c": {"enum": ["x"]}}}}},
    }
    secret = {"enum": ["hunter2"], "writeOnly": True}
    nested = {"properties": {"value": inner, "secret": secret}}
    assert find_choices(nested, "value.a%2Eb.12.c", "") == ["x"]
    for name in ("", "value", "value.a.b.0.c", "secret", "gone", "value.a%2Eb.c", "..", "0"):
        assert find_choices(nested, name, "") == []
    assert find_choices({"properties": 1}, "value", "") == []


# Many choices of a list

SOME = {"type": "array", "items": {"enum": CUSTOMERS}}
FIND = "value-find"


def sent_again(form: ParameterForm, one: dict[str, Any], **typed: Any) -> ParameterForm:
    """Type into a form that was displayed again, and send it."""
    return ParameterForm(one, {}, data=fill(form, **typed))


def test_a_choice_is_found_and_added_to_a_list_by_submitting_the_form() -> None:
    one = schema(SOME)
    form = typed_into(one, **{FIND: " customer-09999 "})
    assert form.is_partial
    assert not form.is_valid()
    assert form.errors == {}
    assert dict(page(form).sent)["parameters-value"] == "customer-09999"
    form = sent_again(form, one, **{FIND: "customer-00007"})
    assert dict(page(form).sent)["parameters-value-find"] == ""
    assert "autofocus" in page(form).controls["parameters-value-find"]
    assert resolved(sent_again(form, one)) == ["customer-09999", "customer-00007"]


def test_a_part_of_a_choice_adds_nothing_and_suggests_what_contains_it() -> None:
    form = typed_into(schema(SOME), **{FIND: "R-0999"})
    assert not form.is_valid()
    assert options(form) == [f"customer-0999{number}" for number in range(10)]
    assert dict(page(form).sent)["parameters-value"] == ""
    assert dict(page(form).sent)["parameters-value-find"] == "R-0999"
    assert page(form).controls["parameters-value-find"]["aria-describedby"] == "id_parameters-value-find-found"
    (notice,) = form.notices
    assert "10 choices found" in notice
    assert "No choice contains" in typed_into(schema(SOME), **{FIND: EVIL}).notices[0]


def test_the_button_of_a_search_never_submits_the_form() -> None:
    form = typed_into(schema(SOME), value="customer-00001", **{"value-add": "true"})
    assert form.is_partial
    assert not form.is_valid()
    assert page(form).controls["parameters-value"]["tag"] == "textarea"


def test_a_choice_is_added_to_a_list_that_is_json() -> None:
    odd = schema({"type": "array", "items": {"enum": [*CUSTOMERS, "two\nlines", "[1]"]}})
    for text, typed, value in (
        ('["customer-00001"]', "customer-00002", ["customer-00001", "customer-00002"]),
        ("", "[1]", ["[1]"]),
        ("", '"two\\nlines"', ["two\nlines"]),
        ("customer-00001\r\n", "[1]", ["customer-00001", "[1]"]),
    ):
        form = typed_into(odd, value=text, **{FIND: typed})
        assert resolved(sent_again(form, odd)) == value


def test_a_list_in_a_model_has_a_search_of_its_own() -> None:
    one = schema({"type": "object", "properties": {"some": SOME, "more": SOME}})
    control = page(ParameterForm(one, {})).controls["parameters-value.some-find"]
    assert control["data-choices"] == "value.some.0"
    assert find_choices(one, control["data-choices"], "09999") == ["customer-09999"]
    form = typed_into(one, **{"value.some-find": "customer-00001"})
    assert resolved(sent_again(form, one)) == {"some": ["customer-00001"]}


def test_a_list_whose_choices_its_help_names_has_no_search() -> None:
    few = schema({"type": "array", "items": {"enum": CUSTOMERS[:20]}})
    assert "parameters-value-find" not in page(ParameterForm(few, {})).controls
    assert resolved(typed_into(few, value="customer-00001")) == ["customer-00001"]


def test_what_one_form_cannot_list_is_searched_or_typed() -> None:
    colours = [f"colour-{number}" for number in range(12)]
    one, several = {"$ref": "#/definitions/Choice"}, {"type": "array", "items": {"$ref": "#/definitions/Choice"}}
    for node, choices, typed, value in (
        (one, CUSTOMERS[:100], "customer-00007", "customer-00007"),
        (one, CUSTOMERS, "customer-00007", "customer-00007"),
        (several, colours, "colour-1", ["colour-1"]),
        (several, CUSTOMERS, "customer-00007", ["customer-00007"]),
    ):
        many = {
            "properties": {f"choice{number}": node for number in range(500)},
            "definitions": {"Choice": {"enum": choices}},
        }
        form = ParameterForm(many, {})
        assert len(form.render()) < 600_000
        assert len(options(form)) < 4_000
        assert page(form).controls["parameters-choice499"]["tag"] in ("input", "textarea")
        assert sent(typed_into(many, choice499=typed)) == {"choice499": value}


def test_checkboxes_that_had_no_room_any_more_once_rows_were_added_keep_what_was_ticked() -> None:
    """The script adds rows in place, so the form that was displayed still had the checkboxes."""
    choice = {"enum": CUSTOMERS[:100]}
    properties = {
        "rows": {"type": "array", "items": {"type": "object", "properties": {"customer": choice}}},
        **{f"choice{number}": choice for number in range(29)},
        "ticks": {"type": "array", "items": {"enum": list("abcdefghijkl")}},
    }
    full = {"properties": {name: {**node, "position": at} for at, (name, node) in enumerate(properties.items())}}
    assert page(ParameterForm(full, {})).controls["parameters-ticks"]["type"] == "checkbox"
    form = typed_into(full, ticks=["", "a", "b"], **{"rows-rows": rows(0)})
    assert page(form).controls["parameters-ticks"]["tag"] == "textarea"
    assert sent(form) == {"rows": [{}], "ticks": ["a", "b"]}


# Values on offer

MONTHS = ["2026-08", "2026-09", "2026-10"]


def offering(
    one: dict[str, Any], offered: list[Any], given: dict[str, Any] | None = None, **typed: Any
) -> ParameterForm:
    """Type into a form with values on offer that are the only ones, and send it."""
    shown = ParameterForm(one, given or {}, offered={"value": offered})
    return ParameterForm(one, given or {}, data=fill(shown, **typed), offered={"value": offered})


def test_the_only_values_are_a_select_and_the_others_an_input() -> None:
    for node in (TEXT, {**TEXT, "pattern": "^.{7}$"}):
        form = ParameterForm(schema(node), {}, offered={"value": MONTHS}, suggestions={"value": MONTHS})
        assert page(form).controls["parameters-value"]["tag"] == "select"
        assert "parameters-value-empty" not in page(form).controls
        assert options(form) == ["", *MONTHS, "-other"]
        assert resolved(offering(schema(node), MONTHS, value="2026-09")) == "2026-09"
        assert offering(schema(node), MONTHS).codes == {"value": ["parameter.required"]}


def test_another_value_than_those_on_offer_can_be_typed_and_is_shown_again() -> None:
    form = offering(schema(TEXT), MONTHS, value="-other", **{"value-other": "2027-01"})
    assert resolved(form) == "2027-01"
    for again in (form, ParameterForm(schema(TEXT), {"value": "2027-01"}, offered={"value": MONTHS})):
        assert dict(page(again).sent)["parameters-value"] == "-other"
        assert dict(page(again).sent)["parameters-value-other"] == "2027-01"
    # What an input that is not displayed holds is not sent.
    assert resolved(offering(schema(TEXT), MONTHS, value="2026-08", **{"value-other": "2027-01"})) == "2026-08"
    assert offering(schema(TEXT), MONTHS, value="-other").codes == {"value": ["parameter.required"]}
    assert "parameters-value-other" in form.public_names


def test_a_given_value_on_offer_is_selected_and_kept() -> None:
    for value in ("2026-10", "2027-01"):
        form = offering(schema(TEXT, required=False), MONTHS, {"value": value})
        assert sent(form) == form.resolved == {"value": value}
    optional = schema(OPTIONAL_TEXT)
    assert resolved(offering(optional, MONTHS)) is None
    assert resolved(offering(optional, MONTHS, {"value": "2026-10"}, value="")) is None


def test_numbers_and_dates_on_offer_keep_their_type() -> None:
    number, date = schema({"type": "integer"}), schema({"type": "string", "format": "date"})
    assert resolved(offering(number, [1, 7], value="7")) == 7
    other = page(ParameterForm(number, {}, offered={"value": [1, 7]})).controls["parameters-value-other"]
    assert other["type"] == "number"
    assert resolved(offering(date, ["2026-01-31"], value="2026-01-31")) == "2026-01-31"


@pytest.mark.parametrize(
    ("node", "offered"),
    [
        (TEXT, []),
        (TEXT, [7]),
        (TEXT, [{"a": 1}]),
        (TEXT, [""]),
        (TEXT, CUSTOMERS),
        ({"type": "integer"}, ["seven", None]),
        ({"type": "string", "format": "date-time"}, ["2027-03-28T02:30"]),
        ({**TEXT, "writeOnly": True}, MONTHS),
        ({"type": "array", "items": TEXT}, MONTHS),
        ({"enum": ["a"]}, MONTHS),
        ({"type": "boolean"}, [True]),
        ({}, MONTHS),
    ],
)
def test_values_that_a_select_cannot_stand_for_leave_the_input(node: dict[str, Any], offered: list[Any]) -> None:
    form = ParameterForm(schema(node), {}, offered={"value": offered})
    assert "parameters-value-other" not in page(form).controls
    assert "-other" not in options(form)


def test_choices_that_look_alike_have_labels_that_tell_them_apart() -> None:
    alike = schema({"enum": [1, "1", True, "true", "a\nb", "a b", "plain"]})
    html = ParameterForm(alike, {}).render()
    labels = re.findall(r"<option[^>]*>\s*([^<]+?)\s*</option>", html)
    assert labels == ["Choose…", "1", "&quot;1&quot;", "true", "&quot;true&quot;", "&quot;a\\nb&quot;", "a b", "plain"]


def test_keyword_arguments_left_empty_are_an_empty_object() -> None:
    nullable = {"anyOf": [{"type": "object"}, {"type": "null"}]}
    for node in ({}, nullable):
        form = typed_into({"properties": {"kwargs": node}, "required": ["kwargs"]})
        assert form.is_valid(), form.errors
        assert form.resolved == {"kwargs": {}}


@pytest.mark.parametrize("where", ["defaults", "initial"])
def test_an_empty_text_that_was_given_stays_one(where: str) -> None:
    """From the deployment, or from the run that is repeated."""
    assert resolved(typed_into(only("s"), **{where: {"value": ""}})) == ""


def test_a_required_text_without_a_value_is_asked_for() -> None:
    assert typed_into(only("s")).codes == {"value": ["parameter.required"]}
    assert not typed_into(only("s"), {"value": "x"}, value="").is_valid()


# What Prefect fills in


@pytest.mark.parametrize("name", ["s", "i", "b", "colour", "os", "dsa", "db", "odb", "lm", "ls", "lcol", "sec", "anyv"])
@pytest.mark.parametrize("is_required", [True, False])
def test_a_default_that_prefect_fills_in_is_named_and_left_alone(name: str, is_required: bool) -> None:
    variable = {"__prefect_kind": "workspace_variable", "variable_name": "my_variable"}
    given = {"value": variable if name != "dsa" else {"a": variable}}
    form = ParameterForm(only(name, required=is_required), given)
    assert "from the variable my_variable." in form.render()
    assert "__prefect_kind" not in form.render()
    assert "aria-required" not in page(form).controls.get("parameters-value", {})
    sent = typed_into(only(name, required=is_required), given)
    assert sent.is_valid(), sent.errors
    assert (sent.values, sent.resolved) == ({}, {})


def test_a_default_that_prefect_fills_in_can_be_replaced() -> None:
    given = {"value": {"__prefect_kind": "jinja", "template": EVIL}}
    assert "from a template." in ParameterForm(only("s"), given).render()
    assert resolved(typed_into(only("s"), given, value="x")) == "x"
    again = ParameterForm(only("s"), given, initial={"value": "y"})
    assert ("parameters-value", "y") in page(again).sent


def test_keys_of_an_earlier_run_that_a_model_does_not_have_are_dropped_and_named() -> None:
    """The flow ignores them, and no input could remove them."""
    many = {
        "properties": {"m": EVERY_KIND["properties"]["lm"], "d": EVERY_KIND["properties"]["dsa"]},
        "definitions": EVERY_KIND["definitions"],
    }
    ran = {"m": [{"host": "h", "more": {"a": 1}}], "d": {"any": 1}, "gone": 1}
    form = ParameterForm(many, {}, initial=ran)
    assert len(form.notices) == 2
    assert "“gone”" in form.notices[0]
    assert "“m[0].more”" in form.notices[1]
    sent = typed_into(many, initial=ran)
    assert sent.is_valid(), sent.errors
    assert sent.resolved == {"m": [{"host": "h"}], "d": {"any": 1}}


def test_keys_of_the_deployments_own_default_are_not_dropped() -> None:
    given = {"value": {"host": "h", "more": 1}}
    assert typed_into(only("db"), given).codes == {"value": ["parameter.unknown"]}


# Nested models and rows


def test_a_nested_model_is_a_fieldset_with_its_own_fields() -> None:
    form = typed_into(only("db"), **{"value.host": "h"})
    assert resolved(form) == {"host": "h"}
    assert form.values == {"value": {"host": "h"}}
    tags = [tag for tag, _ in page(form).tags]
    assert tags.count("fieldset") == tags.count("legend") == 1


def test_changing_one_field_of_a_default_object_keeps_the_others() -> None:
    pair = schema(
        {"$ref": "#/definitions/P", "default": {"a": 1, "b": 2}},
        required=False,
        definitions={"P": {"properties": {"a": {"type": "integer", "default": 7}, "b": {"type": "integer"}}}},
    )
    assert resolved(typed_into(pair, **{"value.b": "5"})) == {"a": 1, "b": 5}


def test_an_optional_model_is_given_and_taken_back_by_its_box() -> None:
    on = {"value-given": ["false", "true"]}
    assert resolved(typed_into(only("odb"), **on, **{"value.host": "h"})) == {"host": "h"}
    # Its inputs are hidden while the box is off, so nothing in them is sent.
    assert resolved(typed_into(only("odb"), **{"value.host": "h"})) is None
    given = {"value": {"host": "h", "password": "hunter2"}}
    assert resolved(typed_into(only("odb"), given, **{"value-given": ["false"]})) is None
    ticked = typed_into(only("odb"), **{"value-given": ["false", "true"]})
    assert ticked.codes == {"value.host": ["parameter.required"]}


def rows(*indexes: int) -> list[str]:
    """The hidden inputs of the rows that are on the page."""
    return ["", *map(str, indexes)]


def added_row(form: ParameterForm) -> dict[str, str]:
    return next(attributes for tag, attributes in page(form).tags if "data-row-added" in attributes)


DEFAULTS = {"properties": {"name": {"type": "string", "default": "x"}}, "type": "object", "title": "Tree"}
FOREST = {"type": "array", "items": DEFAULTS}


def test_a_list_without_rows_shows_none_and_sends_nothing() -> None:
    for default in ({}, {"default": []}):
        optional = schema({**FOREST, **default}, required=False)
        shown = ParameterForm(optional, {})
        assert [name for name in page(shown).controls if name.endswith(".name")] == []
        assert sent(typed_into(optional)) == {}


def test_every_row_that_is_shown_is_sent_even_one_of_nothing_but_defaults() -> None:
    form = typed_into(schema(FOREST), **{"value-rows": rows(0, 1), "value.1.name": "y"})
    assert resolved(form) == [{}, {"name": "y"}]
    assert resolved(typed_into(schema(FOREST), {"value": [{"name": "a"}]}, **{"value-rows": rows(0, 1)})) == [
        {"name": "a"},
        {},
    ]


def test_a_blank_row_is_not_dropped_in_silence() -> None:
    form = typed_into(only("lm"), **{"value-rows": rows(0, 1), "value.0.host": "h", "value.1.host": ""})
    assert form.codes == {"value[1].host": ["parameter.required"]}
    assert typed_into(only("lsec"), **{"value-rows": rows(0), "value.0": ""}).codes == {
        "value[0]": ["parameter.required"]
    }


def test_a_list_can_be_empty_on_purpose_or_not_set() -> None:
    empty = {"value-empty": ["false", "true"]}
    required, optional = schema(FOREST), schema(FOREST, required=False)
    assert typed_into(required).codes == {"value": ["parameter.required"]}
    assert resolved(typed_into(required, **empty)) == []
    assert sent(typed_into(optional)) == {}
    assert resolved(typed_into(optional, **empty)) == []
    nullable = schema({"anyOf": [FOREST, {"type": "null"}]})
    assert resolved(typed_into(nullable)) is None
    assert resolved(typed_into(nullable, **empty)) == []
    for initial in ([], None):
        assert resolved(typed_into(nullable, initial={"value": initial})) == initial
    at_least_one = schema({**FOREST, "minItems": 1})
    assert "parameters-value-empty" not in page(ParameterForm(at_least_one, {})).controls


def test_a_list_whose_rows_are_all_removed_is_empty() -> None:
    given = {"value": [{"name": "a"}]}
    assert resolved(typed_into(schema(FOREST), given, **{"value-rows": rows()})) == []
    nullable = schema({"anyOf": [FOREST, {"type": "null"}]})
    assert resolved(typed_into(nullable, given, **{"value-rows": rows()})) is None


@pytest.mark.parametrize("items", [{"type": "string"}, {"enum": ["a", "b"]}])
def test_a_list_of_texts_or_choices_can_be_empty_on_purpose(items: dict[str, Any]) -> None:
    empty = {"value-empty": ["false", "true"]}
    texts = {"type": "array", "items": items}
    assert typed_into(schema(texts)).codes == {"value": ["parameter.required"]}
    assert resolved(typed_into(schema(texts), **empty)) == []
    assert sent(typed_into(schema(texts, required=False))) == {}
    assert resolved(typed_into(schema(texts, required=False), initial={"value": []})) == []


def test_a_row_can_be_removed_and_the_rest_keep_their_secrets() -> None:
    given = {"value": [{"host": "a", "password": "hunter2"}, {"host": "b", "password": "hunter3"}]}
    form = typed_into(only("lm"), given, **{"value-rows": rows(1), "value.1.port": "7"})
    assert resolved(form) == [{"host": "b", "password": "hunter3", "port": 7}]


def test_errors_of_rows_stay_with_their_rows_when_others_are_removed() -> None:
    given = {"value": [{"host": "a"}, {"host": "b"}]}
    form = typed_into(only("lm"), given, **{"value-rows": rows(1), "value.1.port": "0"})
    assert form.codes == {"value[1].port": ["parameter.minimum"]}


def test_an_unreadable_input_has_one_error_and_hides_no_other() -> None:
    row = {"properties": {"n": {"type": "integer"}, "j": {"type": "object"}}, "required": ["n", "j"], "type": "object"}
    listed = schema({"type": "array", "items": row})
    given = {"value": [{"n": 1, "j": {}}, {"n": 2, "j": {}}, {"n": 3, "j": {}}]}
    typed = {"value-rows": rows(1, 2), "value.1.j": "[1]", "value.2.j": "{"}
    assert typed_into(listed, given, **typed).codes == {
        "value[1].j": ["parameter.type"],
        "value[2].j": ["parameter.json"],
    }


def test_rows_are_added_and_removed_without_a_script() -> None:
    typed = {"value-rows": rows(0), "value.0.host": "kept", "value.0.port": "none"}
    form = typed_into(only("lm"), **typed, **{"value-add": "true"})
    assert form.is_partial
    assert not form.is_valid()
    assert form.errors == {}
    controls = page(form).controls
    assert controls["parameters-value.0.port"]["value"] == "none"
    assert "parameters-value.1.host" in controls
    assert added_row(form)["data-row"].endswith(" 2")
    typed = {"value-rows": rows(0, 1), "value.0.host": "gone", "value.1.host": "kept"}
    form = typed_into(only("lm"), **typed, **{"value-remove": "0"})
    assert not form.is_valid()
    assert form.errors == {}
    assert "parameters-value.0.host" not in page(form).controls
    assert ("parameters-value.1.host", "kept") in page(form).sent


def test_a_new_row_shows_its_defaults_and_sends_none_of_them() -> None:
    fields = {
        "on": {"type": "boolean", "default": True},
        "some": {"type": "array", "items": {"enum": ["a", "b"]}, "default": ["a"]},
        "text": {"type": "string", "default": "x"},
    }
    one = schema({"type": "array", "items": {"type": "object", "properties": fields}})
    form = typed_into(one, **{"value-add": "true"})
    assert [pair for pair in page(form).sent if pair[0].startswith("parameters-value.0.")] == [
        *[("parameters-value.0.on", "false"), ("parameters-value.0.on", "true")],
        *[("parameters-value.0.some", ""), ("parameters-value.0.some", "a")],
        ("parameters-value.0.text", "x"),
    ]
    assert resolved(ParameterForm(one, {}, data=fill(form))) == [{}]


def test_a_new_row_takes_no_place_of_a_removed_one() -> None:
    """The place of a removed row holds its stored secrets."""
    given = {"value": [{"host": "a", "password": "hunter2"}]}
    form = typed_into(only("lm"), given, **{"value-rows": rows(), "value-add": "true"})
    assert added_row(form)["data-row"].endswith(" 2")
    assert resolved(typed_into(only("lm"), given, **{"value-rows": rows(1), "value.1.host": "b"})) == [{"host": "b"}]


def test_rows_within_rows_are_added_to_their_own_list() -> None:
    typed = {"value.children-rows": rows(0), "value.children.0.name": "a"}
    form = typed_into(only("tree"), **{**typed, "value.children-add": "true"})
    assert {"parameters-value.children.0.name", "parameters-value.children.1.name"} <= page(form).controls.keys()


def test_the_number_of_rows_is_limited() -> None:
    forged = [*rows(*range(200)), "9999", "x", "-1", "0"]
    form = typed_into(only("lm"), **{"value-rows": forged, "value-add": "true"})
    assert len([name for name in page(form).controls if name.endswith(".host")]) == 50
    assert "parameters-value-add" not in form.render()


def test_a_tree_is_a_form_to_a_depth_and_json_beyond() -> None:
    given = {"value": {"name": "a", "children": [{"name": "b", "children": []}]}}
    controls = page(ParameterForm(only("tree"), given)).controls
    assert controls["parameters-value.children.0.name"]["tag"] == "textarea"
    assert controls["parameters-value.children.0.children"]["tag"] == "textarea"


def test_an_example_is_in_the_help_once_and_never_for_a_secret() -> None:
    plain = {"type": "string", "examples": ["AB-123"]}
    assert ParameterForm(schema(plain), {}).render().count("AB-123") == 1
    described = {**plain, "description": "Such as AB-123."}
    assert ParameterForm(schema(described), {}).render().count("AB-123") == 1
    assert "AB-123" not in ParameterForm(schema({**plain, "format": "password", "writeOnly": True}), {}).render()


# Errors


def test_every_error_is_beside_its_field_and_the_typed_text_stays() -> None:
    form = typed_into(EVERY_KIND, **{"i": "1.5", "db.port": "0", "dsa": "{", "cl": "1\r\nx", "pat": "ABC"})
    assert not form.is_valid()
    assert form.codes["i"] == ["parameter.type"]
    assert form.codes["db.port"] == ["parameter.minimum"]
    assert form.codes["db.host"] == ["parameter.required"]
    assert form.codes["dsa"] == ["parameter.json"]
    assert form.codes["cl"] == ["parameter.type"]
    assert form.codes["s"] == ["parameter.required"]
    shown = page(form)
    assert shown.controls["parameters-i"]["value"] == "1.5"
    assert dict(shown.sent)["parameters-dsa"] == "{"
    assert dict(shown.sent)["parameters-cl"] == "1\r\nx"
    assert f'data-error-count="{form.error_count}"' in form.render()
    assert form.error_count == len(form.codes)


def test_the_summary_leads_to_each_wrong_field_and_the_first_has_the_focus() -> None:
    form = typed_into(EVERY_KIND, **{"i": "1.5", "db.port": "0", "sec": "hunter2"})
    tags = page(form).tags
    ids = {attributes["id"] for _, attributes in tags if "id" in attributes}
    links = [attributes["href"].removeprefix("#") for tag, attributes in tags if tag == "a"]
    assert len(links) == form.error_count
    assert set(links) <= ids
    assert {"id_parameters-i", "id_parameters-db.port"} <= set(links)
    focused = [attributes["id"] for _, attributes in tags if "autofocus" in attributes]
    assert focused == links[:1]
    assert "Enter it again" in form.render()
    assert "Enter it again" not in ParameterForm(EVERY_KIND, {}).render()


def test_an_error_within_json_says_where() -> None:
    assert typed_into(only("dsi"), value='{"a": "x"}').codes == {"value": ["parameter.type"]}


def test_the_form_validates_as_every_caller_does() -> None:
    assert typed_into(only("dsa"), value='{"a": {"__prefect_kind": "jinja"}}').codes == {
        "value": ["parameter.prefect_kind"]
    }
    assert typed_into(only("s"), value="a\0b").codes == {"value": ["parameter.not_storable"]}
    assert typed_into(only("s"), value="x" * 600_000).codes == {"__all__": ["parameter.too_large"]}
    assert typed_into(only("dsa"), value='{"a": NaN}').codes == {"value": ["parameter.not_finite"]}
    assert typed_into(only("anyv"), value="[" * 100_000).errors


@pytest.mark.parametrize("name", ["anyv", "dsa", "dsec"])
@pytest.mark.parametrize("depth", [30, 500, 2_000, 5_000, 20_000])
def test_json_of_any_depth_is_answered(name: str, depth: int) -> None:
    """5,000 levels were a server error: more than recursive code bears, fewer than the parser refuses."""
    for text in ("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth):
        form = typed_into(only(name), value=text)
        assert form.codes["value"][0] in {"parameter.too_deep", "parameter.json"}
        assert str(form)


def test_json_of_too_many_values_is_refused_before_it_is_checked() -> None:
    form = typed_into(only("dsa"), value=json.dumps({f"key{n}": [n] for n in range(100_000)}))
    assert form.codes == {"value": ["parameter.too_large"]}
    assert str(form)


def test_text_in_a_number_input_is_displayed_again() -> None:
    control = page(typed_into(only("i"), value="five")).controls["parameters-value"]
    assert (control["type"], control["value"]) == ("text", "five")
    assert page(typed_into(only("d"))).controls["parameters-value"]["type"] == "date"


def test_an_unusable_schema_is_an_error_of_the_form() -> None:
    broken = schema({"$ref": "http://example.org/x"})
    for form in (ParameterForm(broken, {}), ParameterForm(broken, {}, data=QueryDict("parameters-value=1"))):
        assert not form.is_valid()
        assert 'data-code="parameter.schema"' in form.render()
        assert form.codes["__all__"] == ["parameter.schema"]


def test_an_unbound_form_is_not_valid_and_has_no_errors() -> None:
    form = ParameterForm(EVERY_KIND, {})
    assert not form.is_valid()
    assert form.errors == {}
    assert 'aria-invalid="true"' not in form.render()


def test_a_flow_without_parameters_says_so() -> None:
    assert "This deployment has no parameters." in ParameterForm({}, {}).render()
    assert ParameterForm({}, {}, data=QueryDict("")).is_valid()


# Secrets


SECRET = "hunter2-hunter2"
SECRET_KINDS: list[tuple[str, Any]] = [
    ("sec", SECRET),
    ("osec", SECRET),
    ("lsec", [SECRET]),
    ("dsec", {"a": SECRET}),
    ("db", {"host": "h", "password": SECRET}),
    ("lm", [{"host": "h", "password": SECRET}]),
]


@pytest.mark.parametrize(("name", "value"), SECRET_KINDS)
def test_a_stored_secret_is_never_shown(name: str, value: Any) -> None:
    assert SECRET not in ParameterForm(only(name), {"value": value}).render()
    assert SECRET not in ParameterForm(only(name), {}, initial={"value": value}).render()


def test_a_typed_secret_is_never_shown_again() -> None:
    typed = {"sec": SECRET, "lsec.0": SECRET, "db.password": SECRET, "dsec": json.dumps({"a": SECRET}), "osec": SECRET}
    form = typed_into(EVERY_KIND, **typed)
    assert not form.is_valid()
    assert SECRET not in form.render()
    assert SECRET not in str(form.errors)
    broken = typed_into(EVERY_KIND, dsec='{"a": "' + SECRET)
    assert SECRET not in broken.render()


def test_a_secret_input_is_a_password_that_browsers_do_not_fill() -> None:
    control = page(ParameterForm(only("sec"), {"value": SECRET})).controls["parameters-value"]
    assert (control["type"], control["autocomplete"]) == ("password", "off")
    assert "value" not in control


def test_json_keeps_the_secrets_that_were_left_masked() -> None:
    given = {"value": {"a": SECRET, "b": "other"}}
    changed = json.dumps({"a": MASK, "b": "new", "c": "third"})
    assert resolved(typed_into(only("dsec"), given, value=changed)) == {"a": SECRET, "b": "new", "c": "third"}
    moved = typed_into(only("dsec"), given, value=json.dumps({"z": MASK}))
    assert moved.codes == {"value": ["parameter.mask"]}


def test_a_secret_in_json_has_to_be_typed_again_after_an_error() -> None:
    form = typed_into(EVERY_KIND, dsec=json.dumps({"a": SECRET}))
    again = ParameterForm(EVERY_KIND, {}, data=fill(form))
    assert again.codes["dsec"] == ["parameter.mask"]


def test_a_starred_default_is_not_taken_for_a_password() -> None:
    form = typed_into(only("secdef", required=False))
    assert form.is_valid()
    assert form.resolved == {}
    nested = typed_into(only("dbdef", required=False), **{"value.port": "7"})
    assert resolved(nested) == {"host": "h", "port": 7}


# Appearance


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("s", {"tag": "textarea", "rows": "1"}),
        ("pat", {"tag": "input", "type": "text"}),
        ("i", {"type": "number", "step": "1"}),
        ("fl", {"type": "number", "step": "any"}),
        ("bi", {"type": "number", "min": "2", "max": "10", "step": "2"}),
        ("gi", {"type": "number", "min": "1", "max": "4"}),
        ("b", {"tag": "select"}),
        ("bdef", {"type": "checkbox"}),
        ("ob", {"tag": "select"}),
        ("d", {"type": "date"}),
        ("dt", {"type": "datetime-local"}),
        ("t", {"type": "time"}),
        ("td", {"type": "text"}),
        ("url", {"type": "url"}),
        ("colour", {"tag": "select"}),
        ("lcol", {"type": "checkbox"}),
        ("ls", {"tag": "textarea"}),
        ("dsa", {"tag": "textarea"}),
    ],
)
def test_each_kind_has_its_input(name: str, expected: dict[str, str]) -> None:
    control = page(ParameterForm(only(name), {})).controls["parameters-value"]
    assert expected.items() <= control.items()


def test_a_value_that_its_input_would_drop_is_shown_as_text() -> None:
    for name, value in (("d", "soon"), ("t", "14:30Z"), ("i", "many")):
        control = page(ParameterForm(only(name), {"value": value})).controls["parameters-value"]
        assert (control["type"], control["value"]) == ("text", value)


def test_every_input_has_a_label_and_every_description_exists() -> None:
    shown = page(typed_into(EVERY_KIND))
    ids = [attributes["id"] for _, attributes in shown.tags if attributes.get("id")]
    assert len(ids) == len(set(ids))
    labelled = {attributes["for"] for tag, attributes in shown.tags if tag == "label"}
    for tag, attributes in shown.tags:
        if tag in ("input", "select", "textarea") and attributes.get("type") != "hidden":
            assert attributes["id"] in labelled
        for name in ("aria-describedby", "for", "list"):
            assert set(attributes.get(name, "").split()) <= set(ids)
    assert shown.controls["parameters-i"]["aria-invalid"] == "true"
    assert shown.controls["parameters-i"]["aria-describedby"] == "id_parameters-i_errors"
    assert shown.controls["parameters-s"]["aria-describedby"] == "id_parameters-s_help id_parameters-s_errors"
    assert shown.controls["parameters-i"]["aria-required"] == "true"
    assert "aria-required" not in shown.controls["parameters-oi"]


def test_parameters_stand_in_the_order_of_the_signature() -> None:
    two = {"properties": {"later": {"position": 1}, "first": {"position": 0}}}
    assert list(ParameterForm(two, {}).parts) == ["first", "later"]


def test_fields_of_models_stand_in_the_order_of_their_positions_at_every_depth() -> None:
    """Prefect on Postgres answers keys in the order of jsonb: short names first."""
    fields = {name: {"type": "string", "position": at} for name, at in (("body", 1), ("subject", 0), ("cc", 2))}
    inner = {"type": "object", "properties": {**fields, "unnumbered": {"type": "string"}}}
    mail = {"type": "object", "properties": {"inner": {**inner, "position": 1}, "to": {"type": "string"}}}
    form = ParameterForm(schema(mail), {})
    names = [name for name in page(form).controls if not name.endswith("-empty")]
    assert [name.removeprefix("parameters-value.") for name in names] == [
        *("inner.subject", "inner.body", "inner.cc", "inner.unnumbered"),
        "to",
    ]


def test_suggestions_are_offered_and_anything_may_be_typed() -> None:
    form = ParameterForm(only("s"), {}, suggestions={"value": ["2026-01", EVIL]})
    shown = page(form)
    assert shown.controls["parameters-value"]["list"] == "id_parameters-value_suggestions"
    assert [attributes["value"] for tag, attributes in shown.tags if tag == "option"] == ["2026-01", EVIL]
    nested = ParameterForm(only("db"), {}, suggestions={"value.host": ["a"]})
    assert "list" in page(nested).controls["parameters-value.host"]


def test_nothing_that_a_schema_says_becomes_markup() -> None:
    node = {"title": EVIL, "description": EVIL, "x-init": "alert(1)", "attrs": {"onfocus": "alert(1)"}}
    parts = {
        "text": {**node, "type": "string", "default": EVIL, "pattern": EVIL},
        "choice": {**node, "enum": [EVIL, "a"], "default": EVIL},
        "json": {**node, "default": {EVIL: EVIL}},
        "lines": {**node, "type": "array", "items": {"type": "string"}, "default": [EVIL]},
        "group": {**node, "properties": {EVIL: node}},
        "rows": {**node, "type": "array", "items": {**node, "properties": {EVIL: {**node, "type": "string"}}}},
        "ticks": {**node, "type": "array", "items": {"enum": [EVIL]}},
        "union": {**node, "anyOf": [{**node, "properties": {EVIL: {}}}, {"type": "object", "title": EVIL}]},
        EVIL: {**node, "type": "integer", "format": EVIL},
    }
    evil = {"properties": parts, "required": list(parts)}
    for form in (
        ParameterForm(evil, {}),
        typed_into(evil, text="x"),
        ParameterForm(evil, {}, initial={EVIL: 1, "x" + EVIL: 1}),
    ):
        shown = page(form)
        assert not [tag for tag, _ in shown.tags if tag in ("script", "img")]
        assert not [
            attributes for _, attributes in shown.tags if any(name.startswith(("on", "x-")) for name in attributes)
        ]


def test_names_that_would_collide_do_not() -> None:
    odd = {"properties": {name: {"type": "string"} for name in ("a.b", "a-rows", "a b", "ü", 'q"')}}
    odd["properties"]["a"] = {"properties": {"b": {"type": "string"}}}  # type: ignore[dict-item]
    controls = [name for name in page(ParameterForm(odd, {})).controls if not name.endswith("-empty")]
    assert len(controls) == 6
    typed = {name.removeprefix("parameters-"): f"v{index}" for index, name in enumerate(controls)}
    form = typed_into(odd, **typed)
    assert form.is_valid(), form.errors
    assert form.resolved == {"a.b": "v0", "a-rows": "v1", "a b": "v2", "ü": "v3", 'q"': "v4", "a": {"b": "v5"}}


def test_the_stylesheet_has_the_classes_we_name(repository: Path) -> None:
    styles = (repository / "portal/static/portal/portal.css").read_text()
    for classes in (widgets.FIELD, widgets.SELECT):
        assert f".{'.'.join(classes.split())} {{" in styles


def test_a_form_of_many_texts_is_a_page_of_moderate_size() -> None:
    many = {"properties": {f"text{number}": {"type": "string"} for number in range(500)}}
    assert len(ParameterForm(many, {}).render()) < 300_000


def test_markup_escapes_what_is_no_markup() -> None:
    inner = element("b", {"title": EVIL}, EVIL)
    outer = element("p", {"hidden": True, "lang": None, "draggable": False, "tabindex": 0}, inner, "<i>")
    assert outer == f'<p hidden tabindex="0"><b title="{escape(EVIL)}">{escape(EVIL)}</b>&lt;i&gt;</p>'


def test_a_form_of_every_kind_is_quick_to_make() -> None:
    form = ParameterForm(EVERY_KIND, {})
    assert len(form.render()) < 200_000
