"""What is read once for decisions that are made together, and each time otherwise."""

from __future__ import annotations

from itertools import count

from runs.shared_reads import shared, shared_reads


def test_it_is_read_once_within_and_each_time_outside() -> None:
    numbers = count()

    def read() -> int:
        return shared("number", lambda: next(numbers))

    assert [read(), read()] == [0, 1]
    with shared_reads():
        assert [read(), read()] == [2, 2]
        assert shared("other", lambda: "else") == "else"
    assert read() == 3
    with shared_reads():
        assert read() == 4
