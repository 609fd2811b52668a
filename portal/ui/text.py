"""Reads and writes short texts of pages and addresses."""

from __future__ import annotations

import json
from typing import Any


def json_text(value: Any) -> str:
    """Return text as it is, everything else as JSON."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def number(text: str | None, *, otherwise: int | None = None) -> int | None:
    """Parse a number of a query string; return `otherwise` if it is missing, malformed or too long for a bigint."""
    # `isdigit` alone accepts “²”, which `int` refuses.
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else otherwise
