"""Read once what several decisions in one transaction depend on alike, such as the grants of one person.

Outside `shared_reads` everything is read each time: a decision must not rest on what was read for another one earlier.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

_found: ContextVar[dict[Hashable, Any] | None] = ContextVar("shared_reads", default=None)


@contextmanager
def shared_reads() -> Iterator[None]:
    """Within it the same `shared` is read once. Open it for decisions that are made together, in one transaction."""
    token = _found.set({})
    try:
        yield
    finally:
        _found.reset(token)


def shared[Result](key: Hashable, read: Callable[[], Result]) -> Result:
    """Return what `read` returns, or returned before for this key within the same `shared_reads`."""
    found = _found.get()
    if found is None:
        return read()
    if key not in found:
        found[key] = read()
    return cast(Result, found[key])
