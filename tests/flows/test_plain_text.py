"""Text from flows, cleaned for display."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows import plain_text

HOSTILE = st.text(st.sampled_from("ab \t\n\r\0\x07\x1b\x9b\x9c\x9d[]\\;8m0?\u202e\u2066é😀"), max_size=60)
CONTROL = set(map(chr, [*range(9), *range(11, 32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)]))


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain\ttext\nof two lines", "plain\ttext\nof two lines"),
        ("\x1b[31mred\x1b[0m and \x1b[1;4;38;5;196mloud\x1b[m", "red and loud"),
        ("\x9b31mred\x9b0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("see \x1b]8;;https://evil.example\x1b\\the report\x1b]8;;\x1b\\ now", "see the report now"),
        ("\x1b]0;title\x07text", "text"),
        ("\x9d0;title\x9ctext", "text"),
        ("\x1b]8;;without an end", "8;;without an end"),
        ("\x1b(Btext\x1b7\x1b8", "text"),
        ("progress 10%\rprogress 20%\rdone", "progress 10%\nprogress 20%\ndone"),
        ("windows\r\nlines\r\r\n", "windows\nlines\n"),
        ("bell\x07 \u202egnp.exe\u2066", "bell gnp.exe"),
        ("lost\x00here", "lost\ufffdhere"),
        ("naïve 😀 العربية", "naïve 😀 العربية"),
    ],
)
def test_prose_keeps_what_is_read_and_nothing_else(text: str, cleaned: str) -> None:
    assert plain_text.prose(text) == cleaned


@given(HOSTILE)
def test_no_control_character_is_left(text: str) -> None:
    assert not CONTROL & set(plain_text.prose(text))
    assert not CONTROL & set(plain_text.name(text))
    assert "\n" not in plain_text.line(text)
    assert plain_text.prose(plain_text.prose(text)) == plain_text.prose(text)


@given(HOSTILE)
def test_no_name_becomes_a_clean_name_of_another(text: str) -> None:
    assert plain_text.name(text) == text or plain_text.REPLACEMENT in plain_text.name(text)
    assert len(plain_text.name(text)) == len(text)


@pytest.mark.parametrize("piece", ["\x1b]", "\x1b[", "\r", "\x9d;", "\x1b[1;", "\x1bP"])
def test_a_million_characters_take_no_longer_for_being_odd(piece: str) -> None:
    # Quadratic time would take minutes.
    assert len(plain_text.prose(piece * 200_000)) <= len(piece) * 200_000
