"""Before and after, value by value."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

NO_VALUE = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One value before and after; `tone` is green for new, red for gone, amber for changed, grey for kept."""

    path: str
    before: str
    after: str
    tone: str


def diff(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    """What differs, value by value, in the order of the paths."""
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
    """Dotted paths and their values; a list is one value, for its order matters."""
    if isinstance(value, Mapping) and (value or not at):
        for key, each in value.items():
            yield from leaves(each, f"{at}.{key}" if at else key)
    else:
        yield at, value


def display(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2, default=str)
