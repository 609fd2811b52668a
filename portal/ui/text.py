"""Texts and numbers on their way into a page."""

from __future__ import annotations

import re

# Terminal colours, control characters but tab and line feed, and marks that reverse the direction of reading.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def without_control(text: str) -> str:
    """The text without escape sequences and control characters."""
    return CONTROL.sub("", text)


def number(text: str | None, *, otherwise: int | None = None) -> int | None:
    """A number of a query string; `otherwise` where it is missing or not a number."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else otherwise
