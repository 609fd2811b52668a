"""Asserts that a service refuses, and with which code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from runs.access.decisions import Forbidden
from runs.errors import Refused
from runs.models import Verb


@contextmanager
def refused(code: str) -> Iterator[pytest.ExceptionInfo[Refused]]:
    """The block raises `Refused` with exactly this code."""
    with pytest.raises(Refused) as caught:
        yield caught
    assert caught.value.code == code, f"{caught.value.code}: {caught.value.message}"


@contextmanager
def forbidden(verb: Verb, code: str = "access.no_grant") -> Iterator[pytest.ExceptionInfo[Forbidden]]:
    """The block raises `Forbidden` for want of this verb, with exactly this code."""
    with pytest.raises(Forbidden) as caught:
        yield caught
    assert caught.value.code == code, f"{caught.value.code}: {caught.value.message}"
    assert f"“{verb.label}”" in caught.value.message
