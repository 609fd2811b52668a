"""One spelling for every value that is hashed, signed or compared with what was stored.

Postgres keeps what a value means, not how it was written: 10:00+01:00 comes back as 09:00+00:00, 1e23 as
100000000000000000000000, -0.0 as 0.0. Texts are kept as they are, so two normal forms of Unicode stay two values.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID


def moment(value: datetime) -> datetime:
    """The same moment in UTC; ValueError for a time without an offset, which could be any of several."""
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("A time without a UTC offset is ambiguous.")
    return value.astimezone(UTC)


def text(value: object) -> str:
    """JSON in one spelling. TypeError or ValueError for what has none."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def digest(value: object) -> str:
    """SHA-256 of that text, in hexadecimal."""
    return hashlib.sha256(text(value).encode()).hexdigest()


def same(one: object, other: object) -> bool:
    """Whether two values mean the same. Unlike ==, which takes True for 1, and 1e23 for another number than 10**23."""
    return text(one) == text(other)


def _plain(value: object) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        # By its decimal digits, as it is written into JSON: int(1e23) is 99999999999999991611392.
        return int(Decimal(repr(value))) if value.is_integer() else value
    if isinstance(value, datetime):
        return moment(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
