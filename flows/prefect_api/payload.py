"""Refuses values that Prefect accepts and then fails on, or fails on without saying why."""

import math
from collections.abc import Callable, Iterator

from flows.prefect_api.records import JSON, Rejected

# Prefect answers 500 from about 250 levels on. A create answered with 5xx counts as uncertain and would be retried
# for ever.
DEEPEST = 200
SHORTEST_SECRET = 4

# The first row whose check is true of a value in the body refuses it.
REFUSED: tuple[tuple[Callable[[JSON], bool], str], ...] = (
    # Postgres cannot store these two, and Prefect answers 503, as if it were busy.
    (lambda value: isinstance(value, str) and "\x00" in value, "a text contains a NUL character"),
    (
        lambda value: isinstance(value, str) and any("\ud800" <= each <= "\udfff" for each in value),
        "a text contains half of a character",
    ),
    # Prefect accepts the run, and from then on answers 500 to every list that contains the run.
    (
        lambda value: isinstance(value, int) and not -(2**63) <= value < 2**64,
        "a whole number has more than 64 bits",
    ),
    (
        lambda value: isinstance(value, float) and not math.isfinite(value),
        "a number is infinite or NaN, which JSON cannot express",
    ),
)


def check_payload(body: JSON, *, where: str, act: str) -> None:
    """Raise `Rejected`, without repeating the value, if Prefect cannot handle this body."""
    for depth, value in leaf_values(body):
        for is_unsendable, words in REFUSED:
            if is_unsendable(value):
                raise _refusal(words, where, act)
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
