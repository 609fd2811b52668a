"""Times as people say them."""

from datetime import UTC, datetime, timedelta

import pytest

from portal.ui import times

NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (200, "3 min 20 s"),
        (3600, "1 h"),
        (3900, "1 h 5 min"),
        (86400, "1 d"),
        (183600, "2 d 3 h"),
        (10 * 86400 - 1, "9 d 23 h"),
        (10 * 86400 + 7200, "10 d"),
    ],
)
def test_a_span_has_two_units_at_most(seconds: float, expected: str) -> None:
    assert times.span(seconds) == expected


def test_tenths_count_only_when_little_is_there_to_count() -> None:
    assert times.duration(0.0412) == "41 ms"
    assert times.duration(0.9996) == "1 s"
    assert times.duration(-1) == "0 ms"
    assert times.duration(4.0) == "4 s"
    assert times.duration(9.94) == "9.9 s"
    assert times.duration(9.96) == "10 s"
    assert times.duration(10.5) == "10 s"


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "just now"),
        (4, "just now"),
        (42, "42 s ago"),
        (200, "3 min ago"),
        (90000, "1 d ago"),
        (-3900, "in 1 h 5 min"),
    ],
)
def test_what_was_and_what_will_be(seconds: int, expected: str) -> None:
    assert times.age(NOW - timedelta(seconds=seconds), NOW) == expected


def test_a_time_carries_its_exact_self() -> None:
    html = times.relative_time(NOW)
    assert 'datetime="2026-03-02T14:00:00+00:00"' in html
    assert 'title="02 Mar 2026, 14:00:00 UTC"' in html
    assert "data-ago" in html
    assert ">-<" in times.relative_time(None)
