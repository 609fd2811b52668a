"""What bodies of requests have in common."""

from __future__ import annotations

from pydantic import ConfigDict
from pydantic.types import JsonValue


def body(**example: JsonValue) -> ConfigDict:
    """Return the settings of a body: unknown fields are refused, and the description shows this example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [dict(example)]})
