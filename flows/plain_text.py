"""Cleans text from flows and people for display: no escape sequence, control character or override of its direction."""

from __future__ import annotations

import re

REPLACEMENT = "\ufffd"
ESCAPES = re.compile(
    # Titles and links (OSC) and other strings for a terminal, with their end; what has no end keeps its text.
    "(?:\x1b[\\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x90\x98\x9c-\x9f]*(?:\x07|\x1b\\\\|\x9c)"
    # Colours and movements of the cursor (CSI).
    "|(?:\x1b\\[|\x9b)[0-?]*[ -/]*[@-~]"
    "|\x1b[ -/]*[0-~]"
)
LINE_ENDS = re.compile("\r+\n?")
# Tab and line feed are text. The last two ranges reorder what follows: “gpj.exe” can be read as “exe.jpg”.
CONTROL = re.compile("[\x01-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
IN_A_NAME = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def prose(text: str) -> str:
    """Return the text as it is read; a carriage return ends a line, as in the progress of a download."""
    # 1. NUL is kept visible: it can stand for something that was lost.
    text = text.replace("\x00", REPLACEMENT)
    # 2. Whole sequences before single characters, which would leave the rest of a sequence as text.
    return CONTROL.sub("", LINE_ENDS.sub("\n", ESCAPES.sub("", text)))


def line(text: str) -> str:
    """Return the text as one line without outer spaces."""
    return " ".join(prose(text).split())


def name(text: str) -> str:
    """Return a name that grants and other names are compared with: characters are replaced, never removed.

    Otherwise a deployment could get the grants of another one by a name that is cleaned to the other's.
    """
    return IN_A_NAME.sub(REPLACEMENT, text)
