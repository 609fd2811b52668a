"""Formats and patterns of text, checked with pydantic's engine, which also parses them in the worker."""

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from math import prod
from urllib.parse import urlsplit

from pydantic_core import SchemaError, SchemaValidator, core_schema

# The most steps of one pattern over one text. The engine is linear in the text, but counts multiply: (a*){50000} over
# ten thousand characters takes twelve seconds.
PATTERN_STEPS = 10_000_000


def _pydantic(kind: core_schema.CoreSchema, shape: str) -> Callable[[str], bool]:
    """Return a check for what pydantic accepts in this shape; to pydantic alone, 20260131 is a moment in 1970."""
    engine, looks = SchemaValidator(kind), re.compile(shape)
    return lambda text: bool(looks.match(text)) and engine.isinstance_python(text)


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


def _is_address(text: str) -> bool:
    try:
        return bool(urlsplit(text).scheme) and not re.search(r"\s", text)
    except ValueError:
        return False


# A date and time without a zone is valid, as in Prefect: the flow interprets it in the worker.
FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _pydantic(core_schema.date_schema(), r"\d{4}-\d\d-\d\d\Z"),
    "date-time": _pydantic(core_schema.datetime_schema(), r"\d{4}-\d\d-\d\d([Tt ]|\Z)"),
    "duration": _pydantic(core_schema.timedelta_schema(), r"[+-]?P|.*\d:\d"),
    "email": lambda text: bool(re.fullmatch(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+", text)),
    "ipv4": _parses(IPv4Address),
    "ipv6": _parses(IPv6Address),
    "time": _pydantic(core_schema.time_schema(), r"\d\d:\d\d"),
    "uri": _is_address,
    "uuid": _pydantic(core_schema.uuid_schema(), r"\S+\Z"),
}

FORMAT_SENTENCES = {
    "date": "Must be a date such as 2026-01-31.",
    "date-time": "Must be a date and time such as 2026-01-31T14:30 or 2026-01-31T14:30:00+01:00.",
    "duration": "Must be a duration such as PT1H30M (one and a half hours), P2D (two days) or 01:30:00.",
    "email": "Must be an email address.",
    "ipv4": "Must be an IPv4 address.",
    "ipv6": "Must be an IPv6 address.",
    "time": "Must be a time such as 14:30 or 14:30:00.",
    "uri": "Must be a URL such as https://example.org/page.",
    "uuid": "Must be a UUID such as 123e4567-e89b-12d3-a456-426614174000.",
}


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
