"""What the command prints: tables and sentences for people, one JSON document for scripts."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .answers import Event, LogLine
from .text_tables import COLUMNS, STATE_STYLES

# Wide enough for every line: what is not a terminal is read by programs, and nothing is cut.
PIPE_WIDTH = 10_000
# Level of a log line -> style
LEVEL_STYLES = {30: "yellow", 40: "red", 50: "bold red"}


class Screen:
    """Standard output and standard error of one command."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.out, self.err = console(sys.stdout), console(sys.stderr)

    def print_rows(self, kind: type[Any], rows: Sequence[Any], *, empty: str) -> None:
        """Print a list as a JSON array or a table; `empty` instead of an empty table."""
        if self.as_json:
            self.print_json(rows)
        elif not rows:
            self.say(empty)
        else:
            self.out.print(table(kind, rows))

    def print_row(self, row: Any, *sentences: str) -> None:
        """Print one row as a JSON object, or as sentences; without them as its fields."""
        if self.as_json:
            self.print_json(row)
            return
        for sentence in sentences:
            self.say(sentence)
        if not sentences:
            for field in dataclasses.fields(row):
                value = getattr(row, field.name)
                self.out.print(Text(f"{field.name.replace('_', ' '):<20} {cell(value)}"), soft_wrap=True)

    def say(self, sentence: str) -> None:
        if not self.as_json:
            self.out.print(Text(plain(sentence)), soft_wrap=True)

    def warn(self, sentence: str) -> None:
        """Print to standard error."""
        self.err.print(Text(plain(sentence)), soft_wrap=True)

    def log(self, line: LogLine) -> None:
        """Print a line of a log; beside a JSON document it goes to standard error."""
        # What follows a line break is indented, so that no message can pass for a line of its own.
        message = "\n    ".join(plain(each) for each in line.message.splitlines()) or "-"
        style = LEVEL_STYLES.get(line.level // 10 * 10, "")
        text = Text.assemble((cell(line.at), "dim"), "  ", (f"{level_name(line.level):<8}", style), f"  {message}")
        (self.err if self.as_json else self.out).print(text, soft_wrap=True)

    def event(self, row: Event) -> None:
        """Print one event as a line: as JSON, or with what it is about."""
        if self.as_json:
            print(json.dumps(row, default=json_value), file=sys.stdout, flush=True)
            return
        subject = f"request {row.request}" if row.request else row.run or ""
        facts = ", ".join(f"{name} {cell(value)}" for name, value in row.data.items() if value not in ("", None))
        parts = [row.environment, row.deployment or "", subject, facts]
        text = Text.assemble((cell(row.occurred_at), "dim"), f"  {row.id:<8}  {plain(row.kind):<22}  ")
        self.out.print(text + Text("  ".join(plain(each) for each in parts if each)), soft_wrap=True)

    @contextmanager
    def progress(self, sentence: str) -> Iterator[None]:
        """Show on a terminal that something is going on."""
        if self.as_json or not self.err.is_terminal:
            yield
            return
        with self.err.status(Text(plain(sentence))):
            yield

    def print_json(self, value: Any) -> None:
        # ASCII only: what a terminal would obey arrives escaped.
        print(json.dumps(value, default=json_value, indent=2), file=sys.stdout)


def console(stream: Any) -> Console:
    """Return rich's console, which honours NO_COLOR and writes no colours into a pipe."""
    made = Console(file=stream, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    return made


def table(kind: type[Any], rows: Sequence[Any]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    columns = COLUMNS[kind]
    for heading, _ in columns:
        made.add_column(heading.upper(), overflow="fold")
    for row in rows:
        made.add_row(*(styled(heading, value(row)) for heading, value in columns))
    return made


def styled(heading: str, value: object) -> Text:
    style = STATE_STYLES.get(str(value).lower(), "") if heading in ("state", "health", "outcome") else ""
    return Text(cell(value), style=style)


def cell(value: object) -> str:
    """Return a value as people read it; times are those of this machine."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
        case float():
            return f"{value:.1f}"
        case list() | tuple():
            return ", ".join(map(cell, value)) or "-"
        case str():
            return plain(value)
        case _:
            return plain(json.dumps(value, default=json_value))


def plain(text: str) -> str:
    """Return the text without control characters: names and messages come from others, and a terminal obeys those."""
    return "".join(each if each.isprintable() else " " for each in text)


def level_name(level: int) -> str:
    names = {10: "DEBUG", 20: "INFO", 30: "WARNING", 40: "ERROR", 50: "CRITICAL"}
    return names.get(level, str(level))


def json_value(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # Not `asdict`, which copies every level first.
        return {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}
    return value.isoformat() if isinstance(value, datetime) else str(value)
