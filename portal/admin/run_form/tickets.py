"""Help text for ticket fields: an example instead of a regular expression where one can be derived."""

from __future__ import annotations

import re
from collections.abc import Sequence

from flows.parameters import formats

# A class of digits or capital letters, and how often it is repeated.
REPEATED = re.compile(r"(\[0-9\]|\\d|\[A-Z\])(?:\{(\d{1,2})(?:,\d*)?\}|([+*]))?")
DIGITS, LETTERS = "1234567890", "ABCDEFGHIJ"
# What an example may consist of; anything else is syntax that was not replaced.
PLAIN = re.compile(r"[\w#/ .-]+", re.ASCII)


def describe(patterns: Sequence[str]) -> str:
    """Return an example that matches every pattern, or the patterns; an empty string without any."""
    if not patterns:
        return ""
    example = example_of(patterns[0])
    if example and all(formats.fits(pattern, example) for pattern in patterns):
        return f"Ticket ID, for example {example}."
    return f"Ticket ID matching {' and '.join(patterns)}."


def example_of(pattern: str) -> str:
    """Replace the classes of a simple pattern such as ^OPS-[0-9]+$; an empty string for any other."""
    text = REPEATED.sub(characters, pattern.removeprefix("^").removesuffix("$"))
    return text if PLAIN.fullmatch(text) else ""


def characters(found: re.Match[str]) -> str:
    alphabet = LETTERS if found[1] == "[A-Z]" else DIGITS
    count = int(found[2]) if found[2] else 3 if found[3] else 1
    return (alphabet * 10)[:count]
