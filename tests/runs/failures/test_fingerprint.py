"""What makes two failures the same one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runs.failures.fingerprint import LONGEST_PATTERN, cause_of, normalise


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ValueError: bad row 17", "ValueError: bad row 1,018.5"),
        ("KeyError: 'month'", "KeyError: 'year'"),
        ("no run 6f9619ff-8b86-d011-b42d-00cf4fc964ff", "no run 01234567-89ab-4def-8123-456789abcdef"),
        ("object at 0x7f3a is gone", "object at 0x11 is gone"),
        ("no data for 2026-11-28", "no data for 2026-11-29T03:14:00Z"),
        ("cannot reach http://10.0.0.1:80/a?b=1", "cannot reach https://example.org/c"),
        ("refused by 10.0.0.1:5432", "refused by 192.168.7.9"),
        ("cannot read /data/a/1.csv", "cannot read /tmp/other"),
        ("mail to a@example.org bounced", "mail to b.c@example.com bounced"),
        ("commit 9fceb02d0ae598e9 is gone", "commit 0123abcd4567 is gone"),
        ("Flow run encountered an exception: ValueError: bad 1", "ValueError: bad 2"),
        (
            'Traceback (most recent call last):\n  File "a.py", line 3, in f\nValueError: bad 1',
            "Flow run encountered an exception: ValueError: bad 2",
        ),
    ],
)
def test_what_varies_makes_no_other_failure(one: str, other: str) -> None:
    assert cause_of(one).fingerprint("x") == cause_of(other).fingerprint("x")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ValueError: bad row", "KeyError: bad row"),
        ("ValueError: bad row", "ValueError: bad column"),
        ("it can't be read", "it can't be written"),
        ("", "ValueError"),
    ],
)
def test_another_exception_or_message_is_another_failure(one: str, other: str) -> None:
    assert cause_of(one).fingerprint("x") != cause_of(other).fingerprint("x")


def test_another_deployment_or_task_is_another_failure() -> None:
    cause = cause_of("ValueError: bad", task_name="load-a1b")
    assert cause.fingerprint("a", "a") != cause.fingerprint("b", "b")
    assert cause.fingerprint("a") != cause_of("ValueError: bad", task_name="store-a1b").fingerprint("a")
    assert cause.fingerprint("a") == cause_of("ValueError: bad", task_name="load-7f0").fingerprint("a")


def test_a_message_that_says_nothing_gives_way_to_the_task_and_then_to_the_log() -> None:
    task = "Task run encountered an exception ValueError: bad 1"
    found = cause_of("2/7 states failed.", task_key="load-0a1b2c3d", task_message=task, error="other")
    assert (found.task_name, found.exception, found.pattern) == ("load", "ValueError", "bad <number>")
    found = cause_of("Process exited with status code 1", error="Traceback (most recent call last):\n\nOSError: full")
    assert (found.exception, found.pattern) == ("OSError", "full")
    assert cause_of("Process exited with status code: 137").pattern == "Process exited with status code: <number>"


@given(st.text(max_size=3000))
def test_any_text_has_a_pattern_that_can_be_stored(text: str) -> None:
    found = cause_of(text)
    assert len(found.pattern) <= LONGEST_PATTERN
    assert normalise(found.pattern)[:LONGEST_PATTERN].count("0") == 0
    assert "\0" not in found.pattern


@pytest.mark.parametrize("piece", ["'", '"', "a.", "/a", "1:", "a@", "0x", "f" * 7 + "-", "1-", "“", "A."])
def test_a_hostile_message_takes_no_time(piece: str) -> None:
    begun = time.process_time()
    cause_of(piece * 200_000, error=piece * 200_000)
    assert time.process_time() - begun < 1, "more than linear in the length that is read"
