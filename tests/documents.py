"""Reads the code blocks of the documents: commands with their documented output, and scripts that are to be saved."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

FENCE = re.compile(r"^```(shell|console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SAVED_AS = re.compile(r"# /elsewhere/(\S+)\n")
LAST_CODE = "echo $?"


@dataclass
class Command:
    """One command; `code` is its documented exit code."""

    text: str
    output: str = ""
    code: int = 0


@dataclass
class Block:
    """One block; `file` is the name under which a script is to be saved."""

    language: str
    text: str
    file: str = ""
    commands: list[Command] = field(default_factory=list)

    @classmethod
    def read(cls, page: str) -> list[Block]:
        return [cls.of(language, text) for language, text in FENCE.findall(page)]

    @classmethod
    def of(cls, language: str, text: str) -> Block:
        if language == "python":
            saved = SAVED_AS.match(text)
            return cls(language, text, saved[1] if saved else "")
        return cls(language, text, commands=commands(text, prompts=language == "console"))


def blocks(page: Path) -> list[Block]:
    return Block.read(page.read_text())


def commands(text: str, *, prompts: bool) -> list[Command]:
    """The commands of a block: all lines, or with prompts those that begin with one, the others being output."""
    found: list[Command] = []
    asks_code = False
    for line in text.replace("\\\n", "").splitlines():
        typed = line.removeprefix("$ ") if line.startswith("$ ") or not prompts else ""
        typed = re.sub(r"\s+# .*$", "", typed).strip()
        if typed == LAST_CODE:
            asks_code = True
        elif typed:
            found.append(Command(typed))
        elif asks_code:
            found[-1].code, asks_code = int(line), False
        elif found and prompts:
            found[-1].output += f"{line}\n"
    return found
