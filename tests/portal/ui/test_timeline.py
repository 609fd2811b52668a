"""Spans of time on one axis: drawn from plain values, and safe whatever they are called."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from portal.ui.timeline import MOST_ARROWS, MOST_MARKS, Arrow, Segment, axis, lane, marks

EVIL = "<script>alert('x')</script>"


def paths(drawing: str, tone: str) -> list[str]:
    return re.findall(rf'<path data-tone="{tone}" d="([^"]*)"', drawing)


def test_a_lane_is_a_drawing_with_a_title_and_a_bar_where_it_ran() -> None:
    drawing = lane("load-0: Completed", [Segment(0.25, 0.5, "green")])
    root = ElementTree.fromstring(drawing)
    assert root.find("title").text == "load-0: Completed"  # type: ignore[union-attr]  # it has one
    assert paths(drawing, "green") == ["M250 5h250v10h-250z"]


def test_attempts_of_one_colour_are_one_path() -> None:
    drawing = lane("x", [Segment(0, 0.1, "red"), Segment(0.2, 0.3, "red"), Segment(0.5, 1, "green")])
    assert [each.count("M") for each in (*paths(drawing, "red"), *paths(drawing, "green"))] == [2, 1]


@pytest.mark.parametrize(("begins", "ends"), [(0.0, 0.0), (1.0, 1.0), (0.9999, 1.0), (-1.0, 2.0)])
def test_a_bar_is_never_invisible_and_never_outside(begins: float, ends: float) -> None:
    (path,) = paths(lane("x", [Segment(begins, ends, "blue")]), "blue")
    left, width = (float(each) for each in re.findall(r"M([\d.]+) 5h([\d.]+)", path)[0])
    assert width >= 5
    assert 0 <= left <= left + width <= 1000


def test_arrows_reach_into_the_rows_of_what_it_depends_on() -> None:
    drawing = lane("x", [], [Arrow(2, 0.1, 0.3)], [Arrow(1, 0.5, 0.6)])
    assert 'data-way="in"' in drawing
    assert "M100 -30C" in drawing
    assert drawing.index("300 10") > 0
    assert 'data-way="out"' in drawing
    assert "M500 10C" in drawing
    many = lane("x", [], [Arrow(1, 0.1, 0.3)] * (MOST_ARROWS + 5))
    assert many.count("M") == MOST_ARROWS


def test_names_are_escaped() -> None:
    assert EVIL not in lane(EVIL, [Segment(0, 1, EVIL)])


@pytest.mark.parametrize("seconds", [0.01, 0.7, 9, 61, 3_000, 86_400, 400 * 86_400])
def test_an_axis_has_a_few_round_marks(seconds: float) -> None:
    found = list(marks(seconds, 0.0))
    assert 1 <= len(found) <= MOST_MARKS + 1
    assert found[0] == 0
    assert all(each < seconds for each in found)


def test_the_marks_of_a_part_count_from_the_start() -> None:
    drawing = axis(300, offset=1200)
    labels = re.findall(r">([^<]+)</text>", drawing)
    assert labels == [f"{minute} min" for minute in range(20, 25)]
    assert 'x1="20.00%"' in drawing
