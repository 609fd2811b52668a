"""Refuses values that Prefect accepts and then fails on, or fails on without saying why."""

import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from flows.prefect_api.records import JSON, Rejected

# Prefect answers 500 from about 250 levels on. A create answered with 5xx counts as uncertain and would be retried
# for ever.
DEEPEST = 200
SHORTEST_SECRET = 4
SURROGATES = re.compile("[\ud800-\udfff]")


class Unsendable(NamedTuple):
    """A kind of value that is never sent: `code` is one of `flows.parameters.messages.CODES`."""

    code: str
    applies: Callable[[JSON], bool]
    words: str
    sentence: str


# The first row that applies to a value refuses it: beside its input, and once more before it is sent.
UNSENDABLE: tuple[Unsendable, ...] = (
    # Postgres cannot store these two, and Prefect answers 503, as if it were busy.
    Unsendable(
        "parameter.not_storable",
        lambda value: isinstance(value, str) and "\x00" in value,
        "a text contains a NUL character",
        "Contains a null byte, which cannot be stored.",
    ),
    Unsendable(
        "parameter.not_storable",
        lambda value: isinstance(value, str) and bool(SURROGATES.search(value)),
        "a text contains half of a character",
        "Contains half of a character, which cannot be stored.",
    ),
    # Prefect accepts the run, and from then on answers 500 to every list that contains the run.
    Unsendable(
        "parameter.too_many_bits",
        lambda value: isinstance(value, int) and not -(2**63) <= value < 2**64,
        "a whole number has more than 64 bits",
        f"Must be between {-(2**63)} and {2**64 - 1}: Prefect cannot list runs with larger numbers.",
    ),
    Unsendable(
        "parameter.not_finite",
        lambda value: isinstance(value, float) and not math.isfinite(value),
        "a number is infinite or NaN, which JSON cannot express",
        "Must be a finite number.",
    ),
)


def find_unsendable(value: JSON) -> Unsendable | None:
    """Return the reason why a plain value or a key cannot be sent."""
    return next((reason for reason in UNSENDABLE if reason.applies(value)), None)


def check_payload(body: JSON, *, where: str, act: str) -> None:
    """Raise `Rejected`, without repeating the value, if Prefect cannot handle this body."""
    for depth, value in leaf_values(body):
        if reason := find_unsendable(value):
            raise _refusal(reason.words, where, act)
        if depth > DEEPEST:
            raise _refusal("the parameters are nested too deeply", where, act)


def _refusal(reason: str, where: str, act: str) -> Rejected:
    return Rejected(
        f"Could not {act}: {reason}. Nothing was sent to {where}. Correct the parameters.", code="request.unsendable"
    )


def leaf_values(body: JSON, *, with_names: bool = True) -> Iterator[tuple[int, JSON]]:
    """Yield every plain value, and every key, with its depth."""
    # A stack instead of recursion: the body may be nested deeper than Python's stack.
    waiting: list[tuple[int, JSON]] = [(0, body)]
    while waiting:
        depth, value = waiting.pop()
        if isinstance(value, dict):
            waiting.extend((depth + 1, name) for name in value if with_names)
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
        if inner is None or depth > DEEPEST:
            yield depth, None if inner is not None else value
        else:
            waiting.extend((depth + 1, each) for each in inner)


def without_values(parameters: JSON) -> frozenset[str]:
    """Return the values that no error may repeat. Shorter ones are left out: they occur in any sentence."""
    values = (value for _, value in leaf_values(parameters, with_names=False) if not isinstance(value, bool))
    return frozenset(str(value) for value in values if value is not None and len(str(value)) >= SHORTEST_SECRET)
