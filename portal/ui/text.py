"""Reads and writes short texts of pages and addresses."""

from __future__ import annotations

import json
import re
from math import floor
from typing import Any

from flows.wording import plain_number

# The beginning of an item of a list.
ITEM = re.compile(r"[-*•]\s|\d+[.)]\s")


def json_text(value: Any) -> str:
    """Return text as it is, a whole number without “.0”, and everything else as JSON."""
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(plain_number(value), ensure_ascii=False)


def unwrap(text: str) -> str:
    """Join the lines of each paragraph, which the editor of a docstring has wrapped; items of lists keep theirs."""
    lines: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line and lines and lines[-1] and not ITEM.match(line):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return "\n".join(lines)


def number(text: str | None, *, otherwise: int | None = None) -> int | None:
    """Parse a number of a query string; return `otherwise` if it is missing, malformed or too long for a bigint."""
    # `isdigit` alone accepts “²”, which `int` refuses.
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 19 else otherwise


def share(found: float | None) -> str:
    """Return a share from 0 to 1 as a percentage, rounded down: 100% means that nothing failed."""
    return "-" if found is None else f"{plain_number(floor(found * 1000) / 10)}%"


def share_tone(found: float | None) -> str:
    """Return the tone of a success rate."""
    return "grey" if found is None else "green" if found >= 0.95 else "amber" if found >= 0.8 else "red"


def name_and_flow(full_name: str) -> tuple[str, str]:
    """Split “flow/deployment” into the name of the deployment and that of its flow, "" if both are the same."""
    flow, _, name = full_name.partition("/")
    return (name, flow) if name and name != flow else (flow, "")
