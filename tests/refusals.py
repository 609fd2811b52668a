"""Asserts that a service refuses, and with which code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runs.errors import Refused


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[Refused]]:
    """The block raises `Refused` with exactly this code."""
    with pytest.raises(Refused) as caught:
        yield caught
    assert caught.value.code == code, f"{caught.value.code}: {caught.value.message}"
