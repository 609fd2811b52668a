"""Makes values from Prefect storable in Postgres: one odd character must not stop the sync of an environment."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import Field, Model

from flows import canonical

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
# Python and Postgres read JSON of at least some hundred levels; no real value has more.
DEEPEST = 200
REPLACEMENT = "\ufffd"


def sanitize(text: str) -> str:
    """Replace what Postgres cannot store: NUL characters and lone surrogates."""
    return LONE_SURROGATE.sub(REPLACEMENT, text).replace("\x00", REPLACEMENT)


def strip_control(value: object, depth: int = 0) -> Any:
    """Return the value as JSON that Postgres can store; what is nested below `DEEPEST` is replaced."""
    match value:
        case dict() | list() | tuple() | set() | frozenset() if depth >= DEEPEST:
            return REPLACEMENT
        case dict():
            return {sanitize(str(key)): strip_control(each, depth + 1) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [strip_control(each, depth + 1) for each in value]
        case None | bool() | int():
            return value
        case float():
            # Postgres' jsonb has no infinity and no NaN; as text the value stays readable.
            return value if math.isfinite(value) else str(value)
        case datetime():
            return (canonical.moment(value) if value.tzinfo else value).isoformat()
        case _:
            return sanitize(str(value))


def sanitize_json[Row: Model](row: Row) -> Row:
    """Return the row with every text storable and no longer than its column."""
    for column in row._meta.concrete_fields:
        if column.generated:
            continue
        setattr(row, column.attname, sanitize_value(getattr(row, column.attname), column))
    return row


def sanitize_value(value: Any, column: Field[Any, Any]) -> Any:
    """Return one value as its column can store it."""
    if isinstance(value, str):
        # Truncated and not refused: a long name must not hide the row. `[:None]` leaves unlimited columns whole.
        return sanitize(value)[: column.max_length]
    if isinstance(column, ArrayField) and isinstance(value, list):
        return [sanitize_value(each, column.base_field) for each in value]
    return strip_control(value) if isinstance(value, dict | list) else value
