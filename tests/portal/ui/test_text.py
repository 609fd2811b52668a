"""Short texts of pages."""

from __future__ import annotations

from typing import Any

import pytest

from flows.wording import deployment_name, is_name_of
from portal.ui.text import json_text, name_and_flow, unwrap


def test_the_lines_of_a_paragraph_are_joined_and_lists_keep_theirs() -> None:
    text = "Build the features\nof a month.\n\n  Reads:\n- raw tables\n  of the month\n- rules\n1. first\n2. second"
    assert unwrap(text) == (
        "Build the features of a month.\n\nReads:\n- raw tables of the month\n- rules\n1. first\n2. second"
    )
    assert unwrap("") == ""


def test_a_name_is_shown_once_where_the_flow_has_the_same() -> None:
    assert name_and_flow("export/export") == ("export", "")
    assert name_and_flow("export/nightly") == ("nightly", "export")
    assert name_and_flow("export") == ("export", "")
    assert [deployment_name(name) for name in ("export/export", "export/nightly", "")] == [
        "export",
        "export/nightly",
        "",
    ]


def test_a_name_is_confirmed_as_it_is_read_or_in_full() -> None:
    assert all(is_name_of("export/export", typed) for typed in ("export", "export/export", " export "))
    assert not any(is_name_of("export/nightly", typed) for typed in ("export", "nightly", "", "export/"))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2.0, "2"),
        (50_000.0, "50000"),
        (-3.0, "-3"),
        (0.25, "0.25"),
        (1e300, "1e+300"),
        (float("inf"), "Infinity"),
        (True, "true"),
        ({"rate": 2.0}, '{"rate": 2.0}'),
        ([2.0], "[2.0]"),
    ],
)
def test_a_whole_number_is_read_without_a_point_and_json_stays_exact(value: Any, expected: str) -> None:
    assert json_text(value) == expected
