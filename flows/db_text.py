"""Makes what others said fit into Postgres: one odd character may not keep a whole environment from being read."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db.models import Field, Model

from flows import canonical

LONE_SURROGATE = re.compile("[\ud800-\udfff]")
REPLACEMENT = "\ufffd"


def sanitize(text: str) -> str:
    """Postgres keeps neither NUL bytes nor half characters."""
    return LONE_SURROGATE.sub(REPLACEMENT, text).replace("\x00", REPLACEMENT)


def strip_control(value: object) -> Any:
    """What JSON and Postgres can keep of a value."""
    match value:
        case dict():
            return {sanitize(str(key)): strip_control(each) for key, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [strip_control(each) for each in value]
        case None | bool() | int():
            return value
        case float():
            return value if math.isfinite(value) else str(value)
        case datetime():
            return (canonical.moment(value) if value.tzinfo else value).isoformat()
        case _:
            return sanitize(str(value))


def sanitize_json[Row: Model](row: Row) -> Row:
    """The row, with every text storable and no longer than its column."""
    for column in row._meta.concrete_fields:
        setattr(row, column.attname, sanitize_value(getattr(row, column.attname), column))
    return row


def sanitize_value(value: Any, column: Field[Any, Any]) -> Any:
    if isinstance(value, str):
        return sanitize(value)[: column.max_length]
    if isinstance(column, ArrayField) and isinstance(value, list):
        return [sanitize_value(each, column.base_field) for each in value]
    return strip_control(value) if isinstance(value, dict | list) else value
