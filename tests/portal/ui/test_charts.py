"""Charts: what is drawn, and that a label is only text."""

import re

from portal.ui.charts import HEIGHT, WIDTH, Series, scale, stacked_bars


def bars(svg: str) -> list[tuple[float, float, str]]:
    """Top, height and tone of every rectangle."""
    found = re.findall(
        r'<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="([\d.]+)" rx="[\d.]+" data-tone="(\w+)"', svg
    )
    return [(float(y), float(height), tone) for y, height, tone in found]


def test_an_axis_ends_at_a_number_that_four_steps_divide() -> None:
    assert [scale(highest) for highest in (0, 1, 4, 5, 9, 21, 80, 81, 1001)] == [4, 4, 4, 8, 20, 40, 80, 200, 2000]


def test_bars_stand_on_each_other_and_are_as_high_as_their_numbers() -> None:
    svg = stacked_bars("Runs", ["Mon"], [Series("Good", "green", (3,)), Series("Bad", "red", (1,))])
    (green_top, green_height, _), (red_top, red_height, _) = bars(svg)
    assert round(green_height / red_height, 1) == 3
    assert round(red_top + red_height, 1) == round(green_top, 1)


def test_nothing_is_drawn_for_nothing() -> None:
    svg = stacked_bars("Runs", ["Mon", "Tue"], [Series("Good", "green", (0, 2))])
    assert len(bars(svg)) == 1
    assert "<title>Mon: none</title>" in svg
    assert "<title>Tue: 2 good</title>" in svg


def test_everything_stays_inside_whatever_the_numbers() -> None:
    svg = stacked_bars("Runs", [str(day) for day in range(60)], [Series("Good", "green", (10**9,) * 60)])
    for y, height, _ in bars(svg):
        assert y >= 0
        assert y + height <= HEIGHT
    xs = [float(x) for x in re.findall(r'<rect x="([\d.]+)"', svg)]
    assert min(xs) >= 0
    assert max(xs) <= WIDTH


def test_labels_do_not_touch_and_the_newest_is_always_there() -> None:
    svg = stacked_bars("Runs", [f"day {day}" for day in range(40)], [Series("Good", "green", (1,) * 40)])
    shown = re.findall(r">(day \d+)</text>", svg)
    assert len(shown) < 20
    assert shown[-1] == "day 39"


def test_a_chart_without_days_is_an_empty_one() -> None:
    assert bars(stacked_bars("Runs", [], [])) == []


def test_titles_and_labels_are_only_text() -> None:
    evil = "</title><script>alert(1)</script>"
    svg = stacked_bars(evil, [evil], [Series(evil, '"><script>', (1,))])
    assert "<script>" not in svg
