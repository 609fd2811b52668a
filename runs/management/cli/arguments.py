"""Arguments that commands share, and parsers of their texts: parameters and times."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from django.core.management.base import CommandParser

from flows.prefect_api.records import JSON
from runs.errors import Refused


def add_run(parser: CommandParser, *, reason: str, wait: str, seconds: int) -> None:
    """Add the arguments of a command that acts on one run; `reason` and `wait` are the help of these options."""
    parser.add_argument("run", help="Prefect ID, unique run name, or request:NUMBER")
    parser.add_argument("--env", default="", help="only in this environment")
    parser.add_argument("--reason", default="", help=reason)
    parser.add_argument("--ticket", default="", help="ticket ID; required by some policies")
    parser.add_argument("--wait", action="store_true", help=wait)
    parser.add_argument(
        "--timeout", type=float, default=seconds, metavar="SECONDS", help=f"how long to wait ({seconds})"
    )


def add_confirmation(parser: CommandParser) -> None:
    """Add the option with which an act that loosens the rules of a protected environment is confirmed."""
    parser.add_argument(
        "--confirm",
        default="",
        metavar="NAME",
        help="name of the protected environment whose rules become looser; several are separated by commas",
    )


def add_name_confirmation(parser: CommandParser) -> None:
    """Add the option with which a run that deletes data is confirmed."""
    parser.add_argument(
        "--confirm", default="", metavar="DEPLOYMENT", help="full name of the deployment, for a run that deletes data"
    )


def parse_pairs(texts: list[str]) -> dict[str, str]:
    """Return name -> value of NAME=VALUE arguments; the value may contain further equals signs."""
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name:
            raise Refused("argument.parameter", f"-p needs NAME=VALUE, not {text}.")
        pairs[name] = value
    return pairs


def parse_values(path: str) -> dict[str, JSON]:
    """Return the object in a JSON file; `-` is the standard input, an empty path no values.

    Secret parameters belong in a file: other users can see a command line.
    """
    if not path:
        return {}
    try:
        values = json.loads(sys.stdin.read() if path == "-" else Path(path).read_text())
    except OSError as error:
        raise Refused("file.unreadable", f"{path} cannot be read: {error.strerror}.", path=str(path)) from error
    # RecursionError: nested more deeply than Python reads.
    except (ValueError, RecursionError) as error:
        raise Refused("file.not_json", f"{path} is not JSON: {error}.", path=str(path)) from error
    if not isinstance(values, dict):
        raise Refused("file.not_object", f"{path} must hold one JSON object of names and values.", path=str(path))
    return values
