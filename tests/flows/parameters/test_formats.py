"""Formats are accepted and refused as pydantic does it, whose types write them into the schemas of flows."""

import json
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path
from re import Pattern
from typing import Any
from uuid import UUID, uuid1, uuid3, uuid4, uuid5
from zoneinfo import ZoneInfo

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from flows.parameters import Invalid, validate
from flows.parameters.formats import FORMATS

NAMESPACE = UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
UUIDS = [
    *map(str, (uuid1(), uuid3(NAMESPACE, "a"), uuid4(), uuid5(NAMESPACE, "a"))),
    "1ec9414c-232a-6b00-b3c8-9e6bdeced846",
    "01941f29-7c00-7aaa-aaaa-aaaaaaaaaaaa",
    "2489e9ad-2ee2-8e00-8ec9-32d5f69181c0",
    "123e4567e89b12d3a456426614174000",
    "123e4567-e89b-12d3-a456-42661417400",
]
TEXTS = [
    *UUIDS,
    *("", " ", "abc", "é", "a\nb", "😀", "1", "0.5", "true", "null", "[1]", '{"a": 1}', '"x"', "[1", "NaN"),
    *(
        "127.0.0.1",
        "192.0.2.0/24",
        "192.0.2.1/24",
        "192.0.2.1/33",
        "256.0.0.1",
        "::1",
        "2001:db8::/64",
        "2001:db8::1/64",
    ),
    *("http://example.org/a b", "http://", "http://h:abc/p", "http://h:-1/", "http://:80", "https://a b", "s3://b/k"),
    *("postgresql://u:p@a:1,b:2/db", "postgresql://", "mailto:a@b", "example.org", "file:///etc/passwd", "x:y"),
    *("Europe/Vienna", "UTC", "Mars/Base", "../../etc/passwd", "Europe"),
    *("aGVsbG8=", "aGVsbG8", "a===", "%%%%", "red", "#ff0000", "rgb(1, 2, 3)", "rgb(1, 2)", "(a", "[a-z]+", "a{2,1}"),
    *("1/3", "1/0", "2026-01-31", "2026-02-30", "2026-01-31T14:30", "14:30", "25:00", "PT1H30M", "P", "01:30:00"),
]
TYPES: dict[str, Any] = {
    "base64": pydantic.Base64Bytes,
    "date": date,
    "date-time": datetime,
    "duration": timedelta,
    "fraction": Fraction,
    "ipv4": IPv4Address,
    "ipv4interface": IPv4Interface,
    "ipv4network": IPv4Network,
    "ipv6": IPv6Address,
    "ipv6interface": IPv6Interface,
    "ipv6network": IPv6Network,
    "ipvanyaddress": pydantic.IPvAnyAddress,
    "ipvanyinterface": pydantic.IPvAnyInterface,
    "ipvanynetwork": pydantic.IPvAnyNetwork,
    "multi-host-uri": pydantic.PostgresDsn,
    "regex": Pattern,
    "time": time,
    "uri": pydantic.AnyUrl,
    "uuid": UUID,
    "uuid1": pydantic.UUID1,
    "uuid3": pydantic.UUID3,
    "uuid4": pydantic.UUID4,
    "uuid5": pydantic.UUID5,
    "uuid6": pydantic.UUID6,
    "uuid7": pydantic.UUID7,
    "uuid8": pydantic.UUID8,
    "zoneinfo": ZoneInfo,
}
# Several types write this format: a text is accepted if any of them would accept it.
WIDER = {"multi-host-uri": lambda text: not text.startswith("postgresql://u")}
# pydantic reads plain numbers as seconds, which a person who enters a date does not mean.
SECONDS = ("date", "date-time", "duration", "time")


def schema_of(kind: Any) -> dict[str, Any]:
    written = TypeAdapter(kind).json_schema()
    return {"properties": {"value": written}, "required": ["value"], "definitions": written.pop("$defs", {})}


def is_accepted(schema: dict[str, Any], text: str) -> bool:
    try:
        validate(schema, {"value": text}, defaults={})
    except Invalid:
        return False
    return True


def fits_flow(kind: Any, text: str) -> bool:
    try:
        TypeAdapter(kind).validate_json(json.dumps(text))
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("name", sorted(TYPES))
def test_a_format_accepts_what_the_flow_accepts(name: str) -> None:
    kind = TYPES[name]
    schema = schema_of(kind)
    assert f'"format": "{name}"' in json.dumps(schema)
    for text in TEXTS:
        if (name in SECONDS and text in ("1", "0.5")) or WIDER.get(name, lambda text: False)(text):
            continue
        assert is_accepted(schema, text) == fits_flow(kind, text), text


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(TYPES.keys() - WIDER - {*SECONDS, "uuid"})),
    st.text(st.characters(codec="ascii"), max_size=12),
)
def test_a_format_accepts_of_any_text_what_the_flow_accepts(name: str, text: str) -> None:
    if "\0" not in text:
        assert is_accepted(schema_of(TYPES[name]), text) == fits_flow(TYPES[name], text)


@pytest.mark.parametrize(
    "kind",
    [pydantic.Json, pydantic.Json[int], pydantic.Json[list[int]], pydantic.Json[dict[str, float]]],
    ids=["any", "number", "list", "object"],
)
def test_text_that_must_be_json_is_never_stricter_than_the_flow(kind: Any) -> None:
    schema = schema_of(kind)
    for text in [*TEXTS, "[1, 2]", '["a"]', '{"a": 0.5}', '"5"', "-3", "[[1]]"]:
        # Which JSON it must be is left to the flow.
        assert is_accepted(schema, text) == fits_flow(pydantic.Json, text), text
        assert is_accepted(schema, text) or not fits_flow(kind, text), text


def test_deeply_nested_json_within_a_text_is_refused() -> None:
    assert not is_accepted(schema_of(pydantic.Json), "[" * 100_000)


@pytest.mark.parametrize("kind", [Path, pydantic.FilePath, pydantic.DirectoryPath, pydantic.NewPath])
def test_a_path_stays_open(kind: Any) -> None:
    assert is_accepted(schema_of(kind), "/only/the/worker/has/it")


def test_every_checked_format_is_compared_here() -> None:
    # `email` needs a package that neither side requires; `color` is compared by its parser.
    assert FORMATS.keys() - TYPES.keys() == {"color", "email"}


@pytest.mark.parametrize("text", ["1e999999999", "1E+99_999"])
def test_a_fraction_is_not_computed_for_long(text: str) -> None:
    assert not FORMATS["fraction"](text)


@pytest.mark.parametrize("text", ["(" * 900, "(" * 5_000, "a" * 100_000, "a{99999999999}"])
def test_an_expression_is_not_compiled_for_long(text: str) -> None:
    assert not FORMATS["regex"](text)
