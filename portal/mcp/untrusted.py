"""Text from Prefect as an agent gets it: marked as data, without invisible characters, without secrets, and capped.

Flows and their authors write it. It can say anything, also what reads like an instruction; people who read it with an
agent must be able to tell it from what the portal says.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from typing import Any, TypedDict

# Characters of one text, and of the raw text that is read for it: a log line can have megabytes.
LONGEST, LONGEST_RAW = 2_000, 8_000
# Levels and items of a JSON value, such as a schema or the data of an artifact.
DEEPEST, MOST_ITEMS = 8, 200
MASK = "[masked]"
# What colours a terminal: without its first character, which is invisible, the rest would stay as text.
COLOURING = re.compile(r"\x1b\[[0-9;:?]{0,30}[ -/]{0,5}[@-~]")
# A shorter secret would mask half of an ordinary text.
SHORTEST_SECRET = 4
NAMES = (
    "passw(?:or)?d|passwd|pwd|secret|token|api[_-]?key|apikey|access[_-]?key|private[_-]?key|credentials?|"
    "authorization|connection[_-]?string|dsn|session[_-]?id|cookie"
)
# Each in linear time: what repeats is bounded, or ends at the first character that cannot belong to it.
SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.S), MASK),
    (re.compile(r"portal_[0-9A-Za-z]{4,}(?:\.[0-9A-Za-z]+)?"), MASK),
    (re.compile(r"\b(?:gh[pousr]|glpat|xox[abeprs]|pnu|pnb|sk|rk|pk)[_-][A-Za-z0-9_-]{12,}"), MASK),
    (re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{12,}"), MASK),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?"), MASK),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]{0,20}://)[^\s/@]{1,500}@"), rf"\1{MASK}@"),
    (re.compile(r"(?i)\b(bearer|basic|digest)(\s{1,4})[A-Za-z0-9._~+/=:-]{6,}"), rf"\1\2{MASK}"),
    (
        re.compile(
            rf"""(?ix) ( (?<![A-Za-z0-9]) [\w.-]{{0,40}}? (?:{NAMES}) [\w.-]{{0,40}} ["']? \s{{0,4}} [:=] \s{{0,4}} )
            (?! (?:bearer|basic|digest)\b | \[masked\] ) (?: "[^"]*"? | '[^']*'? | [^\s,;&]+ )"""
        ),
        rf"\1{MASK}",
    ),
)


class Untrusted(TypedDict):
    """One text that did not come from the portal."""

    untrusted: bool
    source: str
    text: str
    truncated: bool


def mark(source: str, text: str, *, secrets: Collection[str] = (), longest: int = LONGEST) -> Untrusted:
    """Return a text from Prefect as a marked field; `secrets` are values that must not be in it."""
    found = clean(text, secrets=secrets)
    return Untrusted(
        untrusted=True,
        source=source,
        text=found[:longest],
        truncated=len(found) > longest or len(text) > LONGEST_RAW,
    )


def mark_value(source: str, value: Any, *, longest: int = LONGEST) -> dict[str, Any]:
    """Return a JSON value from Prefect as a marked field."""
    return {"untrusted": True, "source": source, "value": cleaned_value(value, longest, 0)}


def clean(text: str, *, secrets: Collection[str] = ()) -> str:
    """Return a text without invisible characters and secrets; more than `LONGEST_RAW` of it is not read."""
    visible = without_invisible(COLOURING.sub("", text[:LONGEST_RAW]))
    # Longest first: one may be a part of another.
    for secret in sorted(filter(lambda each: len(each) >= SHORTEST_SECRET, secrets), key=len, reverse=True):
        visible = visible.replace(secret, MASK)
    for pattern, replacement in SECRETS:
        visible = pattern.sub(replacement, visible)
    return visible


def without_invisible(text: str) -> str:
    """Remove control, direction and other invisible characters, but for line ends and tabs.

    They hide words from people that an agent reads, or show them in another order.
    """
    return "".join(each for each in text if each in "\n\t" or not is_invisible(each))


def is_invisible(character: str) -> bool:
    """Return whether a character has no shape: controls, directions, tags, variation selectors and fillers."""
    # Private use is left out with them: no one can tell what it looks like.
    if unicodedata.category(character)[0] == "C":
        return True
    point = ord(character)
    return 0xFE00 <= point <= 0xFE0F or 0xE0100 <= point <= 0xE01EF or point in (0x034F, 0x115F, 0x1160, 0x3164, 0xFFA0)


def cleaned_value(value: Any, longest: int, depth: int) -> Any:
    match value:
        case Mapping() | list() | tuple() if depth >= DEEPEST:
            return "[too deep]"
        case Mapping():
            names = list(value.items())[:MOST_ITEMS]
            return {clean(str(name))[:longest]: cleaned_value(each, longest, depth + 1) for name, each in names}
        case list() | tuple():
            return [cleaned_value(each, longest, depth + 1) for each in value[:MOST_ITEMS]]
        case str():
            return clean(value)[:longest]
        case _:
            return value
