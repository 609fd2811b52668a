"""Cleans texts and numbers before they go into a page."""

from __future__ import annotations

import json
import re
from typing import Any

# Terminal colours, control characters but tab and line feed, and marks that reverse the direction of reading.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def without_control(text: str) -> str:
    """Return the text without escape sequences and control characters."""
    return CONTROL.sub("", text)


def json_text(value: Any) -> str:
    """Return text as it is, everything else as JSON."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(text: str | None, *, otherwise: int | None = None) -> int | None:
    """Parse a number of a query string; return `otherwise` if it is missing, malformed or too long for a bigint."""
    # `isdigit` alone accepts “²”, which `int` refuses.
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else otherwise
