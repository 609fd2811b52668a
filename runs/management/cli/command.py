"""Base class of commands: tables for people, JSON for scripts, sentences and exit codes for errors."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandParser
from django.utils import timezone

from flows.encryption import DecryptionError
from flows.parameters import Invalid
from flows.prefect_api.records import PrefectError
from runs.access.decisions import Forbidden
from runs.errors import Refused
from runs.management.cli.row_waits import StillRunning
from runs.names import NotVisible

DONE, REFUSED, FORBIDDEN, NOT_FOUND, PREFECT, RUN_FAILED, STILL_GOING, RUN_LOST = range(8)
# Exception -> exit code. The first match counts, so subclasses of Refused stand before it.
EXIT_CODES: dict[type[Exception], int] = {
    Forbidden: FORBIDDEN,
    NotVisible: NOT_FOUND,
    StillRunning: STILL_GOING,
    Refused: REFUSED,
    Invalid: REFUSED,
    PrefectError: PREFECT,
    DecryptionError: PREFECT,
}
EXIT_CODES_HELP = (
    "exit codes: 0 done, 1 refused or wrong usage, 2 not permitted, 3 not found, 4 Prefect is down or failed, "
    "5 the run did not complete, 6 not finished in time, 7 the run was deleted in Prefect before it ended"
)

Rows = Sequence[Mapping[str, Any]]


class OperatorCommand(BaseCommand):
    """A command that exits with 1 for wrong usage."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        parser = super().create_parser(prog_name, subcommand, **kwargs)

        def misused(message: str) -> NoReturn:
            # argparse exits with 2, which here means “not permitted”.
            parser.print_usage(sys.stderr)
            parser.exit(REFUSED, f"{message}\n")

        parser.error = misused  # type: ignore[method-assign]  # Django creates the parser, and takes no class for it
        return parser


class PortalCommand(OperatorCommand):
    """A command that prints refusals as sentences and exits with a code for their kind."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        return super().create_parser(prog_name, subcommand, epilog=EXIT_CODES_HELP, **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--json", action="store_true", help="print JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            code = self.run(Namespace(**options))
        except tuple(EXIT_CODES) as error:
            self.stderr.write("\n".join(plain(sentence) for sentence in sentences(error)))
            code = next(code for kind, code in EXIT_CODES.items() if isinstance(error, kind))
        if code:
            sys.exit(code)

    def run(self, options: Namespace) -> int:
        """Run the command, print the result, return the exit code."""
        raise NotImplementedError

    def print_rows(self, rows: Rows, *, as_json: bool, empty: str) -> None:
        """Print a list as JSON or as a table; `empty` is printed instead of an empty table."""
        if as_json:
            self.stdout.write(json.dumps(rows, default=json_value, indent=2))
        else:
            self.stdout.write(table(rows) if rows else empty)

    def print_row(self, row: Mapping[str, Any], sentence: str, *, as_json: bool) -> None:
        """Print one row as JSON, or a sentence."""
        self.stdout.write(json.dumps(row, default=json_value, indent=2) if as_json else plain(sentence))


def sentences(error: Exception) -> list[str]:
    """Return the lines to print for an error; a refusal ends with its code, see docs/errors.md."""
    if isinstance(error, Invalid):
        return [f"{each} ({each.code})" for each in error.errors]
    return [f"{str(error).strip()} ({error.code})" if isinstance(error, Refused) else str(error)]


def table(rows: Rows) -> str:
    """Return a table whose columns are as wide as their widest value."""
    lines = [[name.replace("_", " ").upper() for name in rows[0]]]
    lines += [[cell(value) for value in row.values()] for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def cell(value: object) -> str:
    """Return a value as a table shows it."""
    match value:
        case None | "":
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return timezone.localtime(value).strftime("%Y-%m-%d %H:%M:%S")
        case float():
            return f"{value:.1f}"
        case list() | tuple():
            return ", ".join(map(cell, value)) or "-"
        case _:
            return plain(str(value))


def plain(text: str) -> str:
    """Return the text without control characters: names and messages come from others, and a terminal obeys those."""
    return "".join(each if each.isprintable() else " " for each in text)


def json_value(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
