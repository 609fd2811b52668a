"""What makes two failures the same one: pure functions over the texts that Prefect and the flow gave.

Texts of flows can be anything: they are cut before they are matched, and every pattern is linear in their length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from flows import canonical
from flows.plain_text import prose

# Characters of a message that are read, and of what is stored of it.
LONGEST_READ, LONGEST_MESSAGE = 2000, 10_000
LONGEST_PATTERN, LONGEST_EXCEPTION, LONGEST_TASK = 500, 200, 300

# What Prefect writes before the message of an exception.
PREFIX = re.compile(r"^(?:Flow|Task) run encountered an exception:?\s*")
# Messages of a flow run that only say that something in it failed; the task or the log says what.
SAYS_NOTHING = re.compile(r"^\d+/\d+ states (?:failed|are not final)|exited with (?:a )?(?:non-zero )?status code")
TRACEBACK = "Traceback (most recent call last)"
# “pkg.SomeError: text”, “SomeError” alone. Prefect leaves the colon out of what Python would print with one.
EXCEPTION = re.compile(r"^((?:[A-Za-z_]\w{0,60}\.){0,10}[A-Z]\w{0,100})(?::\s*|$)")
# Prefect's key of a task is the name of the function with a digest of its code; a task run adds a number to its name.
TASK_SUFFIX = re.compile(r"-(?:[0-9a-f]{8}|[0-9a-f]{3}|\d+)$")

# What differs between two failures of one cause -> what stands for it, in this order: the first one that fits wins.
VARYING: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), name)
    for pattern, name in (
        (r"\b[a-z][a-z0-9+.-]{1,20}://[^\s'\"<>]+", "<url>"),
        (r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}\b", "<address>"),
        (r"(?<!\w)'[^'\n]*'(?!\w)|(?<!\w)\"[^\"\n]*\"(?!\w)|“[^”\n]*”|`[^`\n]*`", "<value>"),
        (r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "<id>"),
        (r"\b0x[0-9a-f]+\b", "<address>"),
        (
            r"\b\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:Z\b|[+-]\d{2}:?\d{2}\b)?)?",
            "<time>",
        ),
        (r"\b\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?\b", "<time>"),
        (r"\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b", "<address>"),
        (r"(?<![\w/])(?:/[\w.@-]+){2,}/?|\b[a-z]:\\[^\s:*?\"<>|]+", "<path>"),
        # Longer keys, such as digests: hexadecimal, with a digit in it.
        (r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b", "<id>"),
        (r"\d+(?:[.,]\d+)*", "<number>"),
    )
)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why a run failed: the task, the exception and its message, as they are and without what varies."""

    task_name: str
    exception: str
    pattern: str
    message: str

    def fingerprint(self, *where: str) -> str:
        """Return the key of the group; `where` names the deployment."""
        return canonical.digest([*where, self.task_name, self.exception, self.pattern])


def says_nothing(message: str) -> bool:
    """Return whether the message of a failed run does not say what failed."""
    return not message.strip() or SAYS_NOTHING.search(message[:LONGEST_READ]) is not None


def cause_of(
    message: str, *, task_name: str = "", task_key: str = "", task_message: str = "", error: str = ""
) -> Cause:
    """Return the cause of a failure from the message of the run, its first failed task and the last error of its log.

    The message of the run is taken where it says what failed, else that of the task, else the error of the log.
    """
    chosen = message
    if says_nothing(message):
        chosen = next((text for text in (task_message, error) if not says_nothing(text)), message)
    # Without control characters, which could reorder what people read.
    text = words_of(prose(chosen[:LONGEST_READ]))
    found = EXCEPTION.match(text)
    exception, rest = (found.group(1), text[found.end() :]) if found else ("", text)
    return Cause(
        task_name=TASK_SUFFIX.sub("", task_key or task_name)[:LONGEST_TASK],
        exception=exception[:LONGEST_EXCEPTION],
        pattern=normalise(rest),
        message=chosen[:LONGEST_MESSAGE],
    )


def words_of(text: str) -> str:
    """Return what a message says in one line: of a traceback the last one, without what Prefect writes before it."""
    text = PREFIX.sub("", text.strip())
    if TRACEBACK in text:
        lines = [line for line in text.splitlines() if line.strip()]
        text = lines[-1]
    return PREFIX.sub("", " ".join(text.split()))


def normalise(text: str) -> str:
    """Return the text with a name in place of everything that varies."""
    for pattern, name in VARYING:
        text = pattern.sub(name, text)
    return text[:LONGEST_PATTERN]
