"""Canonical JSON for every value that is hashed, signed or compared with a stored one.

Postgres stores what a value means, not how it was written: 10:00+01:00 comes back as 09:00+00:00, 1e23 as
100000000000000000000000, -0.0 as 0.0. Text is unchanged, so two normal forms of Unicode stay two values.
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
    """Convert a time to UTC; ValueError without an offset, because it could be any of several moments."""
    if value.tzinfo is None or value.utcoffset() is None:
        raise ValueError("A time without a UTC offset is ambiguous.")
    return value.astimezone(UTC)


def text(value: object) -> str:
    """Return canonical JSON; TypeError or ValueError for values that JSON cannot express."""
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"))


def digest(value: object) -> str:
    """Return the SHA-256 of `text(value)` in hexadecimal."""
    return hashlib.sha256(text(value).encode()).hexdigest()


def same(one: object, other: object) -> bool:
    """Return whether two values mean the same. Unlike ==, where True equals 1 and 1e23 differs from 10**23."""
    return text(one) == text(other)


def _plain(value: object) -> Any:
    # bool is not a special case: json.dumps writes it as true or false, apart from 1 and 0.
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        # By its decimal digits, as JSON writes it: int(1e23) would be 99999999999999991611392.
        return int(Decimal(repr(value))) if value.is_integer() else value
    if isinstance(value, datetime):
        return moment(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value
