"""Arguments of the command `portal`: what several commands share, and how values are read."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

from .portal_api import Portal
from .terminal import Screen

# The numbers of the portal's own commands (docs/commands.md).
DONE, REFUSED, FORBIDDEN, NOT_FOUND, UNAVAILABLE, RUN_FAILED, STILL_GOING, RUN_LOST = range(8)
EXIT_CODES_HELP = (
    "exit codes: 0 done, 1 refused or wrong usage, 2 not permitted, 3 not found, 4 the portal or Prefect does not "
    "respond, 5 the run did not complete, 6 not finished in time, 7 the run was deleted in Prefect before it ended"
)

type Command = Callable[[Portal, argparse.Namespace, Screen], int]
type Subparsers = argparse._SubParsersAction[CommandParser]


class CommandParser(argparse.ArgumentParser):
    """A parser that exits with 1 for wrong usage: argparse's 2 means “not permitted” here."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        self.exit(REFUSED, f"{message}\n")


def add_command(commands: Subparsers, name: str, function: Command, help_text: str) -> CommandParser:
    parser = commands.add_parser(
        name, help=help_text, description=f"{help_text}.", epilog=EXIT_CODES_HELP, allow_abbrev=False
    )
    parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON document and nothing else")
    parser.set_defaults(function=function)
    return parser


def add_environment(parser: CommandParser, *, is_required: bool = False) -> None:
    parser.add_argument(
        "-e", "--env", dest="environment", default="", required=is_required, metavar="ENV", help="environment"
    )


def add_deployment(parser: CommandParser) -> None:
    parser.add_argument("name", metavar="NAME", help="flow/deployment, an id, or a name that is unique there")
    add_environment(parser, is_required=True)


def add_run(parser: CommandParser) -> None:
    parser.add_argument("run", metavar="RUN", help="id of the run, its unique name, or request:NUMBER")


def add_reason(parser: CommandParser, help_text: str = "why; some environments require it") -> None:
    parser.add_argument("--reason", default="", metavar="TEXT", help=help_text)
    parser.add_argument("--ticket", default="", help="ticket; some policies require it")


def add_confirmation(parser: CommandParser, what: str) -> None:
    parser.add_argument("--confirm", default="", metavar="NAME", help=what)


def add_limit(parser: CommandParser, default: int = 20) -> None:
    parser.add_argument("--limit", type=positive, default=default, metavar="N", help=f"at most so many ({default})")


def add_wait(parser: CommandParser, what: str) -> None:
    parser.add_argument("--wait", action="store_true", help=f"wait until {what}; the result sets the exit code")
    parser.add_argument(
        "--timeout", type=float, default=3600, metavar="SECONDS", help="how long to wait (3600), then exit with 6"
    )


def add_parameters(parser: CommandParser) -> None:
    parser.add_argument(
        *("-p", "--parameter"),
        dest="pairs",
        action="append",
        default=[],
        type=pair,
        metavar="NAME=VALUE",
        help='a parameter, can be repeated: sent as JSON if the value is JSON (7, true, [1], "7"), else as text',
    )
    parser.add_argument(
        "--file",
        default="",
        metavar="FILE|-",
        help="parameters as a JSON object: put secrets here; -p takes precedence",
    )


def parameters(options: argparse.Namespace) -> dict[str, Any]:
    """Return the parameters of the file and of `-p`; exits for a file that is no JSON object."""
    found: Any = {}
    if options.file:
        try:
            text = sys.stdin.read() if options.file == "-" else Path(options.file).read_text()
            found = read_json(text)
        except (OSError, ValueError) as error:
            raise SystemExit(complain(f"{options.file} cannot be read as JSON: {error}.")) from error
        if not isinstance(found, dict):
            raise SystemExit(complain(f'{options.file} must contain one JSON object: {{"name": value}}.'))
    return {**found, **dict(options.pairs)}


def complain(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return REFUSED


def pair(text: str) -> tuple[str, Any]:
    """Read NAME=VALUE; a value that is no JSON is text."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text} is not NAME=VALUE")
    try:
        return name, read_json(value)
    except ValueError:
        return name, value


def read_json(text: str) -> Any:
    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def json_object(text: str) -> dict[str, Any]:
    try:
        found = read_json(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError("it is not JSON") from error
    if not isinstance(found, dict):
        raise argparse.ArgumentTypeError("it must be a JSON object")
    return found


def moment(text: str) -> datetime:
    """Read a time, which needs an offset: the portal and this machine can be in different time zones."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text} is no time such as 2026-11-30T06:00+01:00") from error
    if found.tzinfo is None:
        raise argparse.ArgumentTypeError(f"{text} has no offset. Write it as {text}+01:00, or with Z for UTC")
    return found


def positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return int(text)


def verbs(texts: Sequence[str]) -> list[str]:
    """Return verbs with the spaces that they have in the portal: trigger-later is “trigger later”."""
    return [each.replace("-", " ") for each in texts]
