"""The help text of ticket fields: an example only where it is sure to be accepted."""

from __future__ import annotations

import pytest

from flows.parameters import formats
from portal.admin.run_form import tickets


@pytest.mark.parametrize(
    ("pattern", "example"),
    [
        ("^OPS-[0-9]+$", "OPS-123"),
        (r"^CHG\d{7}$", "CHG1234567"),
        ("^[A-Z]{2,5}-[0-9]{4}$", "AB-1234"),
        ("OPS-[0-9]", "OPS-1"),
        ("INC [0-9]*", "INC 123"),
    ],
)
def test_a_simple_pattern_becomes_an_example_that_it_accepts(pattern: str, example: str) -> None:
    assert tickets.example_of(pattern) == example
    assert formats.fits(pattern, example)
    assert example in tickets.describe([pattern])


@pytest.mark.parametrize("pattern", ["^(OPS|DEV)-[0-9]+$", "^[a-z]+$", "^OPS.[0-9]$|^X$", "^.+$", ""])
def test_any_other_pattern_is_shown_as_it_is(pattern: str) -> None:
    assert tickets.example_of(pattern) == ""
    assert pattern in tickets.describe([pattern])


def test_an_example_must_match_every_pattern() -> None:
    assert "OPS-123" in tickets.describe(["^OPS-[0-9]+$", "^[A-Z]+-"])
    both = tickets.describe(["^OPS-[0-9]+$", "^DEV-"])
    assert "^OPS-[0-9]+$" in both
    assert "^DEV-" in both


def test_without_patterns_there_is_no_hint() -> None:
    assert tickets.describe([]) == ""
