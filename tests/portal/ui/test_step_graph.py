"""The drawing of a chain: a box for each step, an arrow for each condition, all of it inside."""

from __future__ import annotations

import re

from portal.ui.step_graph import HEIGHT, WIDTH, Arrow, Box, place, step_graph

LAYERS = [["a"], ["b", "c"], ["d"]]


def draw(**labels: str) -> str:
    boxes = {key: Box(key, "flow/daily", "Completed", "green", f"#step-{key}") for layer in LAYERS for key in layer}
    arrows = [Arrow("a", "b", ""), Arrow("a", "c", "failed"), Arrow("b", "d", ""), Arrow("a", "d", "finished")]
    return str(step_graph("Steps of <x>", LAYERS, boxes | {"a": Box("a", "<f>", "Failed", "red", "#a")}, arrows))


def test_each_step_is_a_link_with_a_name_and_each_condition_a_line() -> None:
    drawn = draw()
    assert re.findall(r'data-step="(\w)"', drawn) == ["a", "b", "c", "d"]
    assert 'aria-label="b, flow/daily, Completed"' in drawn
    assert drawn.count('class="portal-step-line"') == 4
    assert "&lt;f&gt;" in drawn
    assert "<x>" not in drawn


def test_boxes_do_not_overlap_and_stay_inside() -> None:
    places = place(LAYERS)
    width, height = map(int, re.search(r'viewBox="0 0 (\d+) (\d+)"', draw()).groups())  # type: ignore[union-attr]
    for key, (x, y) in places.items():
        assert 0 <= x <= width - WIDTH
        assert 0 <= y <= height - HEIGHT
        for other, (left, top) in places.items():
            assert key == other or abs(x - left) >= WIDTH or abs(y - top) >= HEIGHT
    # The numbers of a path that passes a layer, too.
    for path in re.findall(r'd="M([^l]+)l', draw()):
        numbers = [int(each) for each in re.findall(r"-?\d+", path)]
        assert max(numbers[::2]) <= width
        assert max(numbers[1::2]) <= height
