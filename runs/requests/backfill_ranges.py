"""The values of a parameter over which a backfill runs, from text: ranges of months, dates and whole numbers, lists."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from flows import canonical
from flows.parameters.references import from_texts
from runs.errors import Refused

# What one person can review as one plan, and one approval can be for.
MOST_ITEMS = 1000
# "first..last", or "first..last/step".
RANGE = re.compile(r"(?P<first>[^\s/]+?)\.\.(?P<last>[^\s/]+)(?:/(?P<step>\d{1,6}))?")
LONGEST = 200


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of range: what its ends look like, and how they become numbers and back."""

    name: str
    pattern: re.Pattern[str]
    read: Callable[[str], int]
    spell: Callable[[int, str], str]


def month_number(text: str) -> int:
    year, month = map(int, text.split("-"))
    return year * 12 + month - 1


def month_text(number: int, first: str) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def date_text(number: int, first: str) -> str:
    return (date.min + timedelta(days=number - 1)).isoformat()


def integer_text(number: int, first: str) -> str:
    """Return the number with as many digits as the first one, if that is padded with zeros."""
    is_padded = first.startswith("0") and len(first) > 1
    return str(number).zfill(len(first)) if is_padded else str(number)


KINDS: tuple[Kind, ...] = (
    Kind("months", re.compile(r"[1-9]\d{3}-(0[1-9]|1[0-2])"), month_number, month_text),
    Kind(
        "dates",
        re.compile(r"[1-9]\d{3}-\d{2}-\d{2}"),
        lambda text: date.fromisoformat(text).toordinal(),
        date_text,
    ),
    Kind("whole numbers", re.compile(r"-?\d{1,15}"), int, integer_text),
)


def values_from(schema: Mapping[str, Any], name: str, given: str | Sequence[Any]) -> list[Any]:
    """Return the values of one parameter, each once, in order; texts are read by the schema of the deployment.

    `given` is text, as `expand` reads it, or a list of values in which each text is such a text. Raises `Refused` with
    code `backfill.range`, `backfill.empty` or `backfill.too_many`.
    """
    pieces = split(given) if isinstance(given, str) else given
    found: dict[str, Any] = {}
    for piece in pieces:
        texts = expand(piece) if isinstance(piece, str) else [piece]
        for text in texts:
            # A text becomes what a form would make of it: "7" is a number where the parameter is one.
            value = from_texts(schema, {name: text}).get(name, text) if isinstance(text, str) else text
            found.setdefault(canonical.text(value), value)
            if len(found) > MOST_ITEMS:
                raise too_many(len(found))
    if not found:
        raise Refused("backfill.empty", f"Enter a range or a list of values for {name}.", parameter=name)
    return list(found.values())


def split(text: str) -> list[str]:
    """Return the parts of a list: its lines, or what stands between commas if it is one line."""
    parts = text.splitlines() if "\n" in text.strip() else text.split(",")
    return [part.strip() for part in parts if part.strip()]


def expand(text: str) -> Iterator[str]:
    """Yield the values of a range, both ends included, or the text itself if it is none."""
    match = RANGE.fullmatch(text.strip())
    if match is None:
        yield text
        return
    first, last, step = match["first"], match["last"], int(match["step"] or 1)
    kind = next((each for each in KINDS if each.pattern.fullmatch(first) and each.pattern.fullmatch(last)), None)
    if kind is None:
        raise invalid(text, "Use months (2026-01..2026-06), dates (2026-01-01..2026-01-31/7) or whole numbers (1..50).")
    try:
        start, end = kind.read(first), kind.read(last)
    except ValueError:
        raise invalid(text, "One of its ends is not a date of the calendar.") from None
    if step < 1:
        raise invalid(text, "Its step must be 1 or more.")
    if end < start:
        raise invalid(text, "It ends before it begins.")
    if (count := (end - start) // step + 1) > MOST_ITEMS:
        raise too_many(count)
    for number in range(start, end + 1, step):
        yield kind.spell(number, first)


def invalid(text: str, why: str) -> Refused:
    return Refused("backfill.range", f"“{text[:LONGEST]}” is not a usable range. {why}")


def too_many(count: int) -> Refused:
    return Refused(
        "backfill.too_many",
        f"A backfill has at most {MOST_ITEMS} items, and this one would have {count} or more. Split it.",
        limit=MOST_ITEMS,
    )
