"""Formats and patterns of text, checked with pydantic's engine, which also parses them in the worker."""

import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from math import prod
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pydantic
import pydantic_core
from pydantic import TypeAdapter
from pydantic.color import parse_str as parse_color
from pydantic_core import SchemaError, SchemaValidator, core_schema

# The most steps of one pattern over one text. The engine is linear in the text, but counts multiply: (a*){50000} over
# ten thousand characters takes twelve seconds.
PATTERN_STEPS = 10_000_000
# Characters of a text that is compiled as a regular expression.
LONGEST_EXPRESSION = 1_000

type Check = Callable[[str], bool]


def _accepted_as(kind: Any, shape: str = "") -> Check:
    """Return a check for what pydantic accepts for a type.

    `shape` excludes what it reads in other ways: to pydantic alone, 20260131 is a moment in 1970.
    """
    engine, looks = TypeAdapter(kind).validator, re.compile(shape)
    return lambda text: bool(looks.match(text)) and engine.isinstance_python(text)


def _is_expression(text: str) -> bool:
    """Return whether Python compiles the text, as pydantic does for `re.Pattern`."""
    try:
        return len(text) <= LONGEST_EXPRESSION and bool(re.compile(text))
    except (re.error, RecursionError, OverflowError):
        return False


def _is_color(text: str) -> bool:
    try:
        return bool(parse_color(text))
    except ValueError:
        return False


# Every format that pydantic writes and that can be checked here. Open are `file-path`, `directory-path` and `path`,
# because only the worker has the files; `binary` and `base64url`, which also stand for plain bytes; and `name-email`,
# whose parser is an optional package. A date and time without a zone is valid, as in Prefect: the flow interprets it
# in the worker.
FORMATS: dict[str, Check] = {
    "base64": _accepted_as(pydantic.Base64Bytes),
    "color": _is_color,
    "date": _accepted_as(date, r"\d{4}-\d\d-\d\d\Z"),
    "date-time": _accepted_as(datetime, r"\d{4}-\d\d-\d\d([Tt ]|\Z)"),
    "duration": _accepted_as(timedelta, r"[+-]?P|.*\d:\d"),
    "email": lambda text: bool(re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", text)),
    # Without huge exponents: computing 1e999999999 would not end.
    "fraction": _accepted_as(Fraction, r"(?!.*[eE][+-]?[\d_]{5})"),
    "ipv4": _accepted_as(IPv4Address),
    "ipv4interface": _accepted_as(IPv4Interface),
    "ipv4network": _accepted_as(IPv4Network),
    "ipv6": _accepted_as(IPv6Address),
    "ipv6interface": _accepted_as(IPv6Interface),
    "ipv6network": _accepted_as(IPv6Network),
    "ipvanyaddress": _accepted_as(pydantic.IPvAnyAddress),
    "ipvanyinterface": _accepted_as(pydantic.IPvAnyInterface),
    "ipvanynetwork": _accepted_as(pydantic.IPvAnyNetwork),
    "multi-host-uri": SchemaValidator(core_schema.multi_host_url_schema()).isinstance_python,
    "regex": _is_expression,
    "time": _accepted_as(time, r"\d\d:\d\d"),
    "uri": _accepted_as(pydantic.AnyUrl),
    "uuid": _accepted_as(UUID, r"\S+\Z"),
    "uuid1": _accepted_as(pydantic.UUID1, r"\S+\Z"),
    "uuid3": _accepted_as(pydantic.UUID3, r"\S+\Z"),
    "uuid4": _accepted_as(pydantic.UUID4, r"\S+\Z"),
    "uuid5": _accepted_as(pydantic.UUID5, r"\S+\Z"),
    "uuid6": _accepted_as(pydantic.UUID6, r"\S+\Z"),
    "uuid7": _accepted_as(pydantic.UUID7, r"\S+\Z"),
    "uuid8": _accepted_as(pydantic.UUID8, r"\S+\Z"),
    "zoneinfo": _accepted_as(ZoneInfo),
}

FORMAT_SENTENCES = {
    "base64": "Must be Base64, such as aGVsbG8=.",
    "color": "Must be a color such as red, #ff0000 or rgb(255, 0, 0).",
    "date": "Must be a date such as 2026-01-31.",
    "date-time": "Must be a date and time such as 2026-01-31T14:30 or 2026-01-31T14:30:00+01:00.",
    "duration": "Must be a duration such as PT1H30M (one and a half hours), P2D (two days) or 01:30:00.",
    "email": "Must be an email address.",
    "fraction": "Must be a fraction such as 1/3.",
    "ipv4": "Must be an IPv4 address.",
    "ipv4interface": "Must be an IPv4 interface such as 192.0.2.1/24.",
    "ipv4network": "Must be an IPv4 network such as 192.0.2.0/24, without host bits.",
    "ipv6": "Must be an IPv6 address.",
    "ipv6interface": "Must be an IPv6 interface such as 2001:db8::1/64.",
    "ipv6network": "Must be an IPv6 network such as 2001:db8::/64, without host bits.",
    "ipvanyaddress": "Must be an IP address.",
    "ipvanyinterface": "Must be an IP interface such as 192.0.2.1/24.",
    "ipvanynetwork": "Must be an IP network such as 192.0.2.0/24, without host bits.",
    "multi-host-uri": "Must be a URL such as postgresql://user@host:5432/database, with commas between hosts.",
    "regex": "Must be a regular expression.",
    "time": "Must be a time such as 14:30 or 14:30:00.",
    "uri": "Must be a URL such as https://example.org/page.",
    "uuid": "Must be a UUID such as 123e4567-e89b-12d3-a456-426614174000.",
    **{f"uuid{version}": f"Must be a UUID of version {version}." for version in (1, 3, 4, 5, 6, 7, 8)},
    "zoneinfo": "Must be a time zone such as Europe/Vienna.",
}


def is_json(text: str) -> bool:
    """Return whether pydantic reads the text as JSON, as it does for `pydantic.Json`."""
    try:
        # Not `json`, whose error for deep nesting is a RecursionError. Encoding refuses half of a character.
        pydantic_core.from_json(text.encode())
    except ValueError:
        return False
    return True


# Not `re`: it backtracks, so one pattern of a deployment could block a web process for hours.
@lru_cache(maxsize=512)
def _engine(pattern: str) -> SchemaValidator | None:
    """Compile a pattern with pydantic's linear-time engine; None for syntax that it does not support."""
    try:
        return SchemaValidator(core_schema.str_schema(pattern=pattern))
    except SchemaError:
        return None


@lru_cache(maxsize=512)
def _steps(pattern: str) -> int:
    """Estimate the steps per character: the length of the pattern, times its counted repetitions."""
    # A count of nine digits and more is left out: the engine refuses such a pattern, and the product would be huge.
    counts = re.findall(r"\{(?:\d*,)?(\d+)", pattern)
    return len(pattern) * prod(max(int(count), 1) for count in counts if len(count) < 9)


def is_too_long(pattern: str, text: str) -> bool:
    """Return whether checking the text against the pattern would take too many steps."""
    return _steps(pattern) * len(text) > PATTERN_STEPS


def fits(pattern: str, text: str) -> bool | None:
    """Return whether the text contains the pattern; None for syntax that the engine lacks, such as look-around."""
    engine = _engine(pattern)
    return None if engine is None else engine.isinstance_python(text)
