"""JSON of the portal as dataclasses. Fields that this version does not know are left out."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import fields
from datetime import datetime
from functools import cache
from types import NoneType
from typing import Any, cast, get_args, get_origin, get_type_hints

from .client_errors import UnexpectedAnswer


@cache
def types_of(kind: Any) -> dict[str, Any]:
    hints = get_type_hints(kind)
    return {each.name: hints[each.name] for each in fields(kind)}


def decode[Row](kind: type[Row], data: Any) -> Row:
    """Return the dataclass for an answer; raises `UnexpectedAnswer`."""
    try:
        return read_row(kind, data)
    except (KeyError, TypeError, ValueError) as error:
        raise UnexpectedAnswer(
            f"The portal answered with a {kind.__name__} that this client cannot read. Is it of another version?"
        ) from error


def read_row[Row](kind: type[Row], data: Any) -> Row:
    """Return the dataclass for a JSON object; raises KeyError, TypeError or ValueError if it does not fit."""
    if not isinstance(data, Mapping):
        raise TypeError(f"{kind.__name__} is no object.")
    return kind(**{name: read_value(hint, data[name]) for name, hint in types_of(cast(Hashable, kind)).items()})


def read_value(hint: Any, value: Any) -> Any:
    """Return a JSON value as the type of its field."""
    choices = [each for each in get_args(hint) if each is not NoneType]
    if NoneType in get_args(hint):
        return None if value is None else read_value(choices[0], value)
    if get_origin(hint) is list:
        return [read_value(choices[0], each) for each in value]
    if get_origin(hint) is dict and isinstance(value, dict):
        return {name: read_value(choices[1], each) for name, each in value.items()}
    if hint is datetime:
        return datetime.fromisoformat(value)
    if hint is float and isinstance(value, int):
        return float(value)
    if hasattr(hint, "__dataclass_fields__"):
        return read_row(hint, value)
    wanted = get_origin(hint) or hint
    if wanted is not Any and not isinstance(value, wanted):
        raise TypeError(f"{type(value).__name__} instead of {wanted.__name__}.")
    return value
