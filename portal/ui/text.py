"""Reads what an address names."""

from __future__ import annotations


def number(text: str | None, *, otherwise: int | None = None) -> int | None:
    """Parse a number of a query string; return `otherwise` if it is missing, malformed or too long for a bigint."""
    # `isdigit` alone accepts “²”, which `int` refuses.
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else otherwise
