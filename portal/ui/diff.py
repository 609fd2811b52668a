"""Differences between two JSON objects, value by value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Not None: null is a value that JSON can hold.
NO_VALUE = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One value before and after; `tone` is green for added, red for removed, amber for changed, grey for unchanged."""

    path: str
    before: str
    after: str
    tone: str


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """Yield every value of the two objects, sorted by path."""
    old, new = dict(leaves(before)), dict(leaves(after))
    for name in sorted({*old, *new}):
        was, is_now = old.get(name, NO_VALUE), new.get(name, NO_VALUE)
        if was is NO_VALUE:
            yield Change(name, "", display(is_now), "green")
        elif is_now is NO_VALUE:
            yield Change(name, display(was), "", "red")
        else:
            yield Change(name, display(was), display(is_now), "grey" if was == is_now else "amber")


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted paths and their values."""
    # Lists are not descended into: with paths by index, one inserted item would mark all later ones as changed.
    if isinstance(value, Mapping) and (value or not at):
        for key, each in value.items():
            yield from leaves(each, f"{at}.{key}" if at else key)
    else:
        yield at, value


def display(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)
